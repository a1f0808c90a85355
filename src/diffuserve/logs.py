"""Logging, set up once by the command line: lines for people or JSON for machines, on standard error.

Rooms log through `structlog` or `logging`, whichever they like; both arrive here. Ids that are bound with `bound`
stand on every line that is written inside. Secrets and long payloads never reach a line, whoever logged them.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, TextIO

import structlog

MAX_TEXT = 2000
"""Characters of one value; a picture in base64 is no reading."""

_HIDDEN = "[hidden]"
_SECRET_NAMES = re.compile(
    r"authorization|cookie|passw|secret|signature|token|credential|(^|_)key$|^key(_|$)|api_?key", re.IGNORECASE
)
_SECRET_TEXTS = (
    # ?signature=..., key=..., in links and forms
    re.compile(r"(?i)((?:\b|_)(?:signature|token|secret|password|api_?key|key)=)[^\s&'\"]+"),
    # Authorization headers
    re.compile(r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9+/._~=-]{8,}"),
    re.compile(r"(?i)\b(bce-auth-v1/)\S{8,}"),
    # our own tokens, wherever they stand
    re.compile(r"\b(dsk_)[A-Za-z0-9_-]{8,}"),
    re.compile(r"\b(2[45]\.)[0-9a-f]{32}[0-9.]+-[0-9]+"),
    # database URLs
    re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s/@]+(?=@)"),
)

Line = MutableMapping[str, Any]


def configure(level: str = "info", *, json: bool = False, stream: TextIO | None = None) -> None:
    """Send every log line of `level` and above to `stream` (default: standard error)."""
    out = stream or sys.stderr
    common: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso" if json else "%H:%M:%S", utc=json),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        without_secrets,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if json
        else structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=0, pad_level=False)
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Their news of every start and request is ours to tell.
    for chatty in ("uvicorn", "httpx2", "httpcore2", "alembic", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))
    structlog.configure(
        processors=[*common, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLogger().level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def bound(**ids: object) -> AbstractContextManager[None]:
    """Inside, every line carries these ids (`request_id`, `job_id`), also lines of tasks that are started there."""
    return structlog.contextvars.bound_contextvars(**ids)


class RequestIds:
    """ASGI: an id of its own for every request, on all lines that are written while it is answered."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        with bound(request_id=secrets.token_hex(6)):
            await self._app(scope, receive, send)


def without_secrets(logger: Any, method: str, line: Line) -> Line:
    """A structlog processor: hides what must not be read and shortens what nobody would."""
    for name, value in line.items():
        if _SECRET_NAMES.search(name):
            line[name] = _HIDDEN
        elif isinstance(value, bytes | bytearray | memoryview):
            line[name] = f"[{len(value)} bytes]"
        elif isinstance(value, str):
            line[name] = _readable(value, limit=20_000 if name == "exception" else MAX_TEXT)
    return line


def _readable(text: str, limit: int) -> str:
    for pattern in _SECRET_TEXTS:
        text = pattern.sub(rf"\1{_HIDDEN}", text)
    return text if len(text) <= limit else f"{text[:limit]}… [{len(text)} characters]"
