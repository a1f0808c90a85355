"""Request bodies as callers really send them: forms, multipart and JSON, in any charset that they name.

Everything comes out as `Fields`: name to text, or to bytes for a file part. What a text means is the dialect's affair.
The body's total size is bounded before this (`http.guards`): over it, reading raises PayloadTooLarge.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from diffuserve.core.errors import MalformedBody, UnsupportedMediaType

Fields = Mapping[str, Any]
"""Text and file bytes; from JSON also True, False, lists and objects (numbers are kept as text, null is left out)."""


class Numeral(str):
    """A number of JSON, as it was written."""

    __slots__ = ()


FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
JSON = "application/json"

MAX_FIELDS = 200
MAX_FILES = 4
MAX_ESCAPES = 500_000
"""Each escape costs a small object while it is decoded, and text never needs so many."""
_LARGE = 64 * 1024
# A picture in base64 holds a million of these; replacing them costs next to nothing.
_OF_BASE64 = ((b"%2B", b"+"), (b"%2b", b"+"), (b"%2F", b"/"), (b"%2f", b"/"), (b"%3D", b"="), (b"%3d", b"="))

# Charsets in which ASCII means ASCII, so that separators are where they seem to be. Python remembers every name that it
# was asked for, so it is asked for these only.
_CHARSETS = re.compile(
    r"utf-?8|(us-)?ascii|gbk|gb2312|gb18030|big5(-hkscs)?|shift-?jis|sjis|euc-(jp|kr|cn)|koi8-[ru]"
    r"|iso-?8859-[0-9]{1,2}|latin-?[0-9]|windows-125[0-8]|cp(125[0-8]|437|850|866|874|93[26]|949|950)"
)


async def read_fields(request: Request) -> Fields:
    """The body's fields. A repeated name counts once, the first time. Read once for each request: a second call, by
    whoever looks for a key among them, returns the same.

    Raises UnsupportedMediaType, MalformedBody, PayloadTooLarge.
    """
    if not hasattr(request.state, "fields"):
        request.state.fields = await _read(request)
    fields: Fields = request.state.fields
    return fields


async def _read(request: Request) -> Fields:
    kind, options = _content_type(request.headers.get("content-type", ""))
    charset = _charset(options.get("charset", "utf-8"))
    if kind == MULTIPART:
        return await _multipart(request)
    if kind not in ("", FORM, JSON):
        raise UnsupportedMediaType(f"content type {kind[:80]} is not understood; use {FORM}, {MULTIPART} or {JSON}")
    body = await request.body()
    if not kind:
        kind = JSON if body.lstrip()[:1] == b"{" else FORM
    parse = parse_json if kind == JSON else parse_form
    return await asyncio.to_thread(parse, body, charset) if len(body) > _LARGE else parse(body, charset)


def parse_form(body: bytes, charset: str = "utf-8") -> dict[str, str]:
    """The fields of a form-encoded body. Bytes that are not of the charset are replaced. Raises MalformedBody."""
    if body.count(b"&") >= MAX_FIELDS:
        raise MalformedBody(f"the form has more than {MAX_FIELDS} fields")
    fields: dict[str, str] = {}
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name or value:
            fields.setdefault(_unquoted(name, charset), _unquoted(value, charset))
    return fields


def parse_json(body: bytes, charset: str = "utf-8") -> dict[str, Any]:
    """The fields of a JSON object, numbers as they were written. Raises MalformedBody."""
    text = body.decode(charset, "replace").removeprefix("\ufeff")
    try:
        value = json.loads(text, object_pairs_hook=_first, parse_int=Numeral, parse_float=Numeral, parse_constant=str)
    except RecursionError:
        raise MalformedBody("the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise MalformedBody(f"the body is not valid JSON: {error.msg[:1].lower()}{error.msg[1:]} at {where}") from None
    if not isinstance(value, dict):
        raise MalformedBody("the body must be a JSON object")
    return {name: item for name, item in value.items() if item is not None}


def _unquoted(raw: bytes, charset: str) -> str:
    raw = raw.replace(b"+", b" ")
    if len(raw) > _LARGE:
        for code, char in _OF_BASE64:
            raw = raw.replace(code, char)
    if raw.count(b"%") > MAX_ESCAPES:
        raise MalformedBody(f"a form field has more than {MAX_ESCAPES} escapes")
    return unquote_to_bytes(raw).decode(charset, "replace")


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


async def _multipart(request: Request) -> dict[str, Any]:
    # A part may be as large as the whole body, which has its own limit.
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=2**40
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedBody(f"the multipart body is malformed: {error.message.rstrip('.').lower()}") from None
    fields: dict[str, Any] = {}
    try:
        for name, part in form.multi_items():
            if name not in fields:
                fields[name] = await part.read() if isinstance(part, UploadFile) else part
    finally:
        await form.close()
    return fields


def _content_type(header: str) -> tuple[str, dict[str, str]]:
    kind, *rest = header.split(";")
    options = {}
    for part in rest:
        name, _, value = part.partition("=")
        options[name.strip().lower()] = value.strip().strip('"')
    return kind.strip().lower(), options


def _charset(name: str) -> str:
    if _CHARSETS.fullmatch(name.lower().replace("_", "-")):
        with suppress(LookupError):
            return codecs.lookup(name).name
    raise UnsupportedMediaType(f"charset {name[:40]!r} is not supported; use utf-8")
