"""Marian's tokenizer, from its own files: `source.spm`, `vocab.json`; read without the sentencepiece library.

An `.spm` file is a protobuf message, `ModelProto` of sentencepiece's `sentencepiece_model.proto`. Of it we need the pieces
with their scores and the normaliser's table; the segmentation itself (T. Kudo, arXiv:1804.10959) is that of `tokenizers`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer
from tokenizers.models import Unigram
from tokenizers.normalizers import Precompiled, Replace, Strip
from tokenizers.normalizers import Sequence as Steps
from tokenizers.pre_tokenizers import Metaspace

from diffuserve.core.errors import ConfigurationError

_BLANK = "\u2581"  # what stands for a blank within pieces
_UNKNOWN, _UNIGRAM = 2, 1  # SentencePiece.Type.UNKNOWN, TrainerSpec.ModelType.UNIGRAM
_UNK, _END = "<unk>", "</s>"


class MarianVocabulary:
    """Text to ids and back. Source and target share `vocab.json`, whose ids are not those of the `.spm` files."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigurationError for files that are missing or something else."""
        try:
            self._ids: dict[str, int] = json.loads((folder / "vocab.json").read_bytes())
            self._pieces = {number: piece for piece, number in self._ids.items()}
            self._unknown, self._end = self._ids[_UNK], self._ids[_END]
            self._tokenizer = read_spm((folder / "source.spm").read_bytes())
        except (OSError, ValueError, KeyError, TypeError, IndexError, struct.error) as error:
            raise ConfigurationError(f"{folder} has no Marian vocabulary that can be read: {error}") from None

    def encode(self, text: str) -> list[int]:
        """Ids of the text's pieces and of its end."""
        tokens: list[str] = self._tokenizer.encode(text).tokens
        return [*(self._ids.get(token, self._unknown) for token in tokens), self._end]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; those that stand for no text are skipped."""
        pieces = (self._pieces.get(number, "") for number in ids)
        return "".join(piece for piece in pieces if not _is_special(piece)).replace(_BLANK, " ").strip()


def read_spm(data: bytes) -> Tokenizer:
    """A tokenizer that cuts as the sentencepiece model in `data` does. Raises ValueError, IndexError, struct.error."""
    pieces: list[tuple[str, float]] = []
    unknown, kind, charsmap = 0, _UNIGRAM, b""
    for number, value in _fields(data):
        if number == 1:  # pieces
            piece = dict(_fields(value))
            if piece.get(3, 1) == _UNKNOWN:
                unknown = len(pieces)
            pieces.append((piece[1].decode(), struct.unpack("<f", piece.get(2, b"\0\0\0\0"))[0]))
        elif number == 2:  # trainer_spec
            kind = dict(_fields(value)).get(3, _UNIGRAM)
        elif number == 3:  # normalizer_spec
            charsmap = dict(_fields(value)).get(2, b"")
    if kind != _UNIGRAM:
        raise ValueError("the sentencepiece model is not of the unigram kind")
    steps = [Replace(Regex(" {2,}"), " "), Strip()]
    try:
        tokenizer = Tokenizer(Unigram(pieces, unk_id=unknown))
        tokenizer.normalizer = Steps([Precompiled(charsmap), *steps] if charsmap else steps)
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        raise ValueError(str(error)) from None
    tokenizer.pre_tokenizer = Metaspace(replacement=_BLANK, prepend_scheme="always")
    return tokenizer


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protobuf message: an int, or bytes (messages, texts and fixed numbers)."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError("not a sentencepiece model")
        if at + size > len(data):
            raise ValueError("a sentencepiece model that is cut off")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _is_special(piece: str) -> bool:
    return (piece.startswith("<") and piece.endswith(">")) or (piece.startswith(">>") and piece.endswith("<<"))
