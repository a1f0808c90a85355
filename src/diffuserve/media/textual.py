"""Pictures that arrive as text: base64 in all the shapes that clients send, data URLs, links.

`decode.read_picture` judges the bytes; what a data URL claims about them is not believed.
"""

from __future__ import annotations

import base64
import binascii
import re

from diffuserve.core.errors import UnreadablePicture

_PREFIX = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)
_LINK = re.compile(r"\s*https?://", re.IGNORECASE)
# A form parser turns an unescaped `+` into a space; line breaks come from encoders that wrap.
_MEND = str.maketrans({" ": "+", "-": "+", "_": "/", "\r": None, "\n": None, "\t": None})


def is_link(text: str) -> bool:
    """Whether `text` is a picture's http(s) address rather than the picture."""
    return _LINK.match(text) is not None


def picture_bytes(text: str, param: str) -> bytes:
    """The bytes that base64 `text` stands for, with or without a data URL's prefix, padding, `+` or line breaks.

    Raises UnreadablePicture where a foreign character is left or nothing comes out.
    """
    text = text.strip()
    prefix = _PREFIX.match(text)
    if prefix:
        text = text[prefix.end() :].strip()
    bare = text.translate(_MEND).rstrip("=")
    try:
        data = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise UnreadablePicture(param, "is not valid base64") from None
    if not data:
        raise UnreadablePicture(param)
    return data
