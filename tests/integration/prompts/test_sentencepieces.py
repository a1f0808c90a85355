"""Marian's tokenizer without sentencepiece, held against what sentencepiece 0.2.3 made of the same model and texts.

`pieces/chinese.spm` was trained by it on a few hundred short sentences, with a normalising table of nine rules;
`pieces/chinese.json` are texts and its pieces of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diffuserve.core.errors import ConfigurationError
from diffuserve.engine.diffusion.sentencepieces import MarianVocabulary, read_spm

pytestmark = pytest.mark.integration

DATA = Path(__file__).with_name("pieces")
SPM = (DATA / "chinese.spm").read_bytes()


def test_texts_are_cut_as_sentencepiece_cuts_them() -> None:
    tokenizer = read_spm(SPM)
    expected = json.loads((DATA / "chinese.json").read_bytes())
    assert len(expected) > 60
    for text, pieces in expected:
        assert tokenizer.encode(text).tokens == pieces


def vocabulary(folder: Path, spm: bytes = SPM, **more: int) -> MarianVocabulary:
    ids = {
        "</s>": 0,
        "<unk>": 1,
        "\u2581红苹果": 5,
        "在": 6,
        "\u2581a": 7,
        "\u2581cat": 8,
        "s": 9,
        ">>eng<<": 10,
        **more,
    }
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "source.spm").write_bytes(spm)
    return MarianVocabulary(folder)


def test_ids_are_those_of_the_vocabulary_and_end_with_the_end(tmp_path: Path) -> None:
    assert vocabulary(tmp_path).encode("红苹果在草") == [5, 6, 1, 0]


def test_ids_become_text_without_what_stands_for_none(tmp_path: Path) -> None:
    assert vocabulary(tmp_path, **{"<pad>": 11}).decode([11, 10, 7, 8, 9, 1, 0, 99]) == "a cats"


@pytest.mark.parametrize("spm", [b"", b"no model", SPM[:1000], SPM[:-1], b"\xff" * 40])
def test_a_file_that_is_no_model_is_refused_with_its_folder(tmp_path: Path, spm: bytes) -> None:
    with pytest.raises(ConfigurationError, match="has no Marian vocabulary"):
        vocabulary(tmp_path, spm)


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    bpe = b"\x12\x02\x18\x02"  # trainer_spec { model_type: BPE }
    with pytest.raises(ConfigurationError, match="not of the unigram kind"):
        vocabulary(tmp_path, SPM + bpe)


def test_a_vocabulary_without_an_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"<unk>": 0}')
    (tmp_path / "source.spm").write_bytes(SPM)
    with pytest.raises(ConfigurationError, match="has no Marian vocabulary"):
        MarianVocabulary(tmp_path)
