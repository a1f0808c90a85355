"""The table of styles."""

from __future__ import annotations

import pytest

from diffuserve.core.errors import InvalidParameter
from diffuserve.prompts import styles

pytestmark = pytest.mark.unit

QIANFAN = """Base, 3D Model, Analog Film, Anime, Cinematic, Comic Book, Craft Clay, Digital Art, Enhance, Fantasy Art,
Isometric, Line Art, Lowpoly, Neonpunk, Origami, Photographic, Pixel Art, Texture"""


def test_qianfans_styles_are_there_and_no_others() -> None:
    assert ", ".join(style.name for style in styles.STYLES) == QIANFAN.replace("\n", " ")


@pytest.mark.parametrize("style", styles.STYLES, ids=lambda style: style.slug)
def test_a_style_is_found_by_its_name_in_any_spelling(style: styles.Style) -> None:
    name = style.name
    spellings = (name, name.lower(), name.upper(), f" {name} ", style.slug, style.slug.replace("-", "_"))
    assert all(styles.find(spelling) is style for spelling in spellings)


@pytest.mark.parametrize("name", ["", "3d", "Watercolour", "😀"])
def test_an_unknown_style_is_refused_with_the_names_that_are_known(name: str) -> None:
    with pytest.raises(InvalidParameter, match=r"style must be one of Base, 3D Model, .*, Texture") as refused:
        styles.find(name)
    assert refused.value.param == "style"


def test_base_changes_nothing_not_even_a_blank() -> None:
    assert styles.apply(styles.find("base"), " a cat, ", ", blurry ") == (" a cat, ", ", blurry ")


@pytest.mark.parametrize("style", styles.STYLES[1:], ids=lambda style: style.slug)
def test_every_other_style_puts_its_words_around_the_callers(style: styles.Style) -> None:
    prompt, negative = styles.apply(style, "a red (cat:1.2), {prompt} ", " blurry,")
    assert prompt.count("a red (cat:1.2), {prompt}") == 1
    assert negative.startswith("blurry, ")
    assert len(prompt) > len("a red (cat:1.2), {prompt}") + 40
    assert ", ," not in prompt + negative and ",," not in prompt + negative and "  " not in prompt + negative
    assert styles.apply(style, "x", "")[1] == style.negative_prompt


def test_no_two_styles_say_the_same() -> None:
    assert len({style.prompt for style in styles.STYLES}) == len(styles.STYLES)


@pytest.mark.parametrize("style", styles.STYLES[1:], ids=lambda style: style.slug)
def test_a_style_leaves_most_of_clips_75_tokens_to_the_caller(style: styles.Style) -> None:
    """Some 1.3 tokens a word and one for each comma, on the safe side."""
    for words in (style.prompt, style.negative_prompt):
        assert 1.3 * len(words.replace("-", " - ").split()) + words.count(",") < 40
