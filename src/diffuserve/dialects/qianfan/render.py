"""A `Job` to the answer of `text2image`, and what its tokens are counted as."""

from __future__ import annotations

import base64
import re
import secrets
import string
from collections.abc import Sequence

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from diffuserve.core.job import Job
from diffuserve.core.principal import Principal
from diffuserve.dialects.qianfan.wire import ImageAnswer, ImageData, TokenUsage

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_WORD = re.compile(r"[^\W_]+")


def success(job: Job, pictures: Sequence[bytes], usage: TokenUsage) -> ImageAnswer:
    """One entry for each picture, in order. Encodes, so call it in a thread."""
    data = [
        ImageData(b64_image=base64.b64encode(picture).decode("ascii"), index=index)
        for index, picture in enumerate(pictures, start=1)
    ]
    return ImageAnswer(id=new_id(), created=int(job.created_at), data=data, usage=usage)


def usage_of(prompt: str, negative_prompt: str) -> TokenUsage:
    """The vendor's estimate: a token for each Chinese character and 1.3 for each other word."""
    count = max(1, -(-sum(map(_tenths, (prompt, negative_prompt))) // 10))
    return TokenUsage(prompt_tokens=count, total_tokens=count)


def rate_headers(who: Principal) -> dict[str, str]:
    """Requests per minute, where the key has a limit: clients slow themselves down to it."""
    rate = who.limits.requests_per_second
    return {} if rate is None else {"x-ratelimit-limit-requests": str(max(1, int(60 * rate)))}


def job_headers(job: Job) -> dict[str, str]:
    """What the answer has no field for."""
    headers = {"diffuserve-job": str(job.id)}
    if job.notes:
        headers["diffuserve-notes"] = _header_text("; ".join(job.notes), 2000)
    return headers


def reply(
    body: BaseModel | bytes, request: Request, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """JSON. The client's own id of the request, or else one of ours, comes back in a header."""
    content = body if isinstance(body, bytes) else body.model_dump_json(exclude_none=True)
    asked = _header_text(request.headers.get("request_id", ""), 100)
    named = {"x-baidu-request-id": asked or secrets.token_hex(8), **(headers or {})}
    return Response(content, status_code=status, headers=named, media_type="application/json")


def new_id() -> str:
    """The id of an answer, as the vendor writes them."""
    return "as-" + "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(10))


def _tenths(text: str) -> int:
    """Tenths of a token."""
    rest, han = _HAN.subn(" ", text)
    return 10 * han + 13 * len(_WORD.findall(rest))


def _header_text(text: str, longest: int) -> str:
    """`text` as far as a header can carry it."""
    return "".join(char if " " <= char <= "~" else "?" for char in text[:longest]).strip()
