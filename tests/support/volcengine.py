"""Calls of the Volcengine dialect: a good body, and requests signed by hand, as the seed's own example signs them."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import quote, urlsplit

from support.pictures import as_base64, picture

OLD, NEW = "2022-08-31", "2024-06-06"
REQ_KEY = "img2img_pastel_boys_style_usage"


def body(**fields: Any) -> dict[str, Any]:
    """A good body with `fields` in it; those that are None are left out."""
    good: dict[str, Any] = {
        "req_key": REQ_KEY,
        "prompt": "a statue",
        "binary_data_base64": [as_base64(picture(600, 800))],
        "long_resolution": 256,
    }
    return {name: value for name, value in {**good, **fields}.items() if value is not None}


def path(action: str, version: str = OLD) -> str:
    return f"/?Action={action}&Version={version}"


def signed(
    url: str,
    content: bytes,
    access_key: str,
    secret: str,
    *,
    now: float | None = None,
    service: str = "cv",
    token: str | None = None,
) -> dict[str, str]:
    """Headers for a POST of `content` to `url`, which must have no characters in its query that need an escape."""
    parts = urlsplit(url)
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    hashed = hashlib.sha256(content).hexdigest()
    headers = {
        "content-type": "application/json",
        "host": parts.netloc,
        "x-content-sha256": hashed,
        "x-date": date,
        **({"x-security-token": token} if token is not None else {}),
    }
    names = ";".join(sorted(headers))
    query = "&".join(sorted(parts.query.split("&")))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = "\n".join(("POST", quote(parts.path), query, lines, names, hashed))
    scope = f"{date[:8]}/cn-north-1/{service}/request"
    to_sign = "\n".join(("HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = secret.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    credential = f"HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": credential}


def encoded(values: object) -> bytes:
    return json.dumps(values).encode()
