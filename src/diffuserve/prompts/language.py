"""Which writing is in a text, so that nobody draws from words that the model cannot read.

Only scripts are told apart: French and English look alike here, and a model trained on English captions makes something of
both. Ranges are Unicode's blocks; punctuation and full-width forms belong to no script.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

NAMES = {
    "ja": "Japanese",
    "ko": "Korean",
    "zh": "Chinese",
    "ru": "Russian",
    "ar": "Arabic",
    "he": "Hebrew",
    "th": "Thai",
    "hi": "Hindi",
    "en": "English",
}
"""By ISO 639-1 code. Where several languages share a script, the one with the most speakers stands for it."""

EVERY = "mul"
"""ISO 639-2's code for many languages: a model that reads `mul` reads everything."""

# In this order: Japanese is written with Chinese characters too, but not without kana. One Chinese character is a word;
# of an alphabet it takes two letters, because single ones serve as symbols.
_WRITING = (
    (
        "ja",
        re.compile(
            r"[\u3041-\u3096\u30a1-\u30fa\u31f0-\u31ff\uff66-\uff9d]{2}|[\u3041-\u3096\u30a1-\u30fa][\u4e00-\u9fff]"
        ),
    ),
    ("ko", re.compile(r"[\uac00-\ud7a3]|[\u1100-\u11ff\u3131-\u318e]{2}")),
    ("zh", re.compile(r"[\u3007\u3105-\u312f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")),
    ("ru", re.compile(r"[\u0400-\u052f]{2}")),
    ("ar", re.compile(r"[\u0620-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]{2}")),
    ("he", re.compile(r"[\u05d0-\u05ea]{2}")),
    ("th", re.compile(r"[\u0e01-\u0e4e]{2}")),
    ("hi", re.compile(r"[\u0900-\u097f]{2}")),
)


def unread(text: str, languages: Iterable[str]) -> str | None:
    """The language (a key of `NAMES`) of the first script in `text` that a reader of `languages` cannot read, or None.

    `languages` are codes such as `en` and `zh-CN`, of which the part before the hyphen counts, or `EVERY`.
    """
    known = {re.split("[-_]", language.strip().casefold())[0] for language in languages}
    if EVERY in known:
        return None
    found = [code for code, writing in _WRITING if writing.search(text)]
    if "ja" in found and "zh" in found:
        found.remove("zh")
    return next((code for code in found if code not in known), None)


def needs_translation(text: str, languages: Iterable[str]) -> bool:
    """Whether `text` holds a script that a reader of `languages` cannot read."""
    return unread(text, languages) is not None
