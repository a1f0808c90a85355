"""Telling scripts apart."""

from __future__ import annotations

import pytest

from diffuserve.prompts.language import NAMES, needs_translation, unread

pytestmark = pytest.mark.unit

EN = ("en",)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("红苹果", "zh"),
        ("a 猫 on a mat", "zh"),
        ("𠮷", "zh"),
        ("赤いりんご", "ja"),
        ("りんご", "ja"),
        ("빨간 사과", "ko"),
        ("красное яблоко", "ru"),
        ("تفاحة حمراء", "ar"),
        ("תפוח אדום", "he"),
        ("แอปเปิ้ล", "th"),
        ("लाल सेब", "hi"),
    ],
)
def test_a_script_that_english_readers_cannot_read_is_named(text: str, language: str) -> None:
    assert unread(text, EN) == language
    assert needs_translation(text, EN)
    assert not needs_translation(text, ("en", language))
    assert language in NAMES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red apple",
        "une pomme, œuvre d'été",
        "(cat:1.2), <lora:x:1>",
        "red，white。【】！",
        "ＡＢＣ",
        "β-carotene",
        "¯\\_(ツ)_/¯",
        "😀 №5 ½ я",
    ],
)
def test_latin_letters_punctuation_and_single_symbols_need_no_translation(text: str) -> None:
    assert not needs_translation(text, EN)


def test_a_reader_of_chinese_reads_chinese_but_not_japanese() -> None:
    assert not needs_translation("红苹果", ("zh-CN", "en"))
    assert not needs_translation("红苹果", ("ZH_Hans",))
    assert unread("赤いりんご", ("en", "zh")) == "ja"


def test_a_reader_of_japanese_reads_its_chinese_characters_where_kana_stand_beside() -> None:
    assert not needs_translation("赤いりんご", ("en", "ja"))
    assert unread("红苹果", ("en", "ja")) == "zh"


def test_a_model_of_many_languages_reads_everything() -> None:
    assert not needs_translation("红 빨간 красное", ("mul",))


def test_a_text_of_several_scripts_needs_translation_as_long_as_one_is_unknown() -> None:
    assert unread("红苹果 красное яблоко", ("en", "zh")) == "ru"
