"""CLIP's tokenizer without a hub: rebuilt from the list of merges that lies in `configs/clip`.

The vocabulary follows from the merges: the 256 bytes, each again as the end of a word, every merge's result, two marks.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

_MERGES = Path(__file__).parent / "configs" / "clip" / "bpe_simple_vocab_16e6.txt.gz"
_ENTRIES = 49408
_BEGIN, _END, _WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"


def tokenizer(pad_token: str, model_max_length: int = 77) -> Any:
    """A `CLIPTokenizer` with all 49,408 entries; `pad_token` fills what a prompt leaves of the window."""
    from transformers import CLIPTokenizer

    symbols = _byte_symbols()
    vocabulary = [*symbols, *(symbol + _WORD_END for symbol in symbols)]
    merges = _merges(_ENTRIES - len(vocabulary) - 2)
    vocabulary += ["".join(pair) for pair in merges]
    vocabulary += [_BEGIN, _END]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(vocabulary)},
        merges=merges,
        pad_token=pad_token,
        model_max_length=model_max_length,
    )


def _merges(count: int) -> list[tuple[str, str]]:
    """The pairs of the first `count` merges. The file holds more, which CLIP was never trained on."""
    with gzip.open(_MERGES, "rt", encoding="utf-8") as file:
        next(file)  # a line of version
        pairs = (next(file).split() for _ in range(count))
        return [(left, right) for left, right in pairs]


def _byte_symbols() -> list[str]:
    """A visible character for each byte, in the order of the vocabulary: those that are visible stand for themselves
    and come first, the others follow as the characters from 256 on."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in visible] + [chr(256 + n) for n in range(256 - len(visible))]
