"""LoRA tags in prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.core.request import Lora
from diffuserve.prompts import lora_tags

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("tag", "lora"),
    [
        ("<lora:ink:0.8>", Lora("ink", 0.8)),
        ("<lora:ink>", Lora("ink", 1.0)),
        ("<lora:ink:>", Lora("ink", 1.0)),
        ("<lora:ink:-0.5>", Lora("ink", -0.5)),
        ("<lora:ink:.5>", Lora("ink", 0.5)),
        ("<lora:ink:0.7:0.2>", Lora("ink", 0.7)),
        ("<lora:ink:te=0.3:unet=0.9>", Lora("ink", 0.3)),
        ("<LoRA: my ink v1.5 : 1 >", Lora("my ink v1.5", 1.0)),
        ("<lyco:墨:2>", Lora("墨", 2.0)),
    ],
)
def test_a_tag_becomes_a_lora(tag: str, lora: Lora) -> None:
    assert lora_tags.split(f"a cat {tag}") == ("a cat", (lora,), ())


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a cat <lora:x:1>, red", "a cat, red"),
        ("a cat, <lora:x:1>, red", "a cat, red"),
        ("<lora:x:1>, a cat", "a cat"),
        ("a cat, <lora:x:1>", "a cat"),
        ("<lora:x:1>", ""),
        ("cat,<lora:x:1>dog", "cat,dog"),
        ("a <lora:x:1> <lora:y:1> cat", "a cat"),
        ("(cat <lora:x:1>:1.2)", "(cat:1.2)"),
        ("( <lora:x:1> cat)", "(cat)"),
    ],
)
def test_no_gap_and_no_lonely_comma_is_left_where_a_tag_was(prompt: str, text: str) -> None:
    assert lora_tags.split(prompt)[0] == text
    assert lora_tags.detach(prompt)[0] == text


@pytest.mark.parametrize(
    "prompt", ["", " a  cat , , ", "1 < 2 > 0", "<b>bold</b>", "<lora>", "<lora", "lora:x:1>", "<<lora:>"]
)
def test_anything_else_between_angle_brackets_is_the_callers_text(prompt: str) -> None:
    if prompt == "<<lora:>":
        assert lora_tags.split(prompt) == ("<", (), ("LoRA tags without a name were left out",))
    else:
        assert lora_tags.split(prompt) == (prompt, (), ())


def test_loras_keep_their_order_and_mentions() -> None:
    text, loras, _ = lora_tags.split("<lora:b:1> a <lora:a:0.5> cat <lora:b:0.2>")
    assert (text, loras) == ("a cat", (Lora("b", 1.0), Lora("a", 0.5), Lora("b", 0.2)))


def test_hypernetworks_are_taken_out_and_reported() -> None:
    text, loras, notes = lora_tags.split("a cat <hypernet:oil:0.5> <hypernet:oil:1>")
    assert (text, loras) == ("a cat", ())
    assert notes == ("hypernetworks are not supported and were left out: oil",)


@pytest.mark.parametrize("weight", ["abc", "nan", "inf", "1e3", "1_0", "0x1", "９" * 3, "9" * 400])
def test_a_weight_that_is_no_plain_number_is_reported(weight: str) -> None:
    text, loras, notes = lora_tags.split(f"a cat <lora:ink:{weight}>")
    assert (text, loras, notes) == ("a cat", (), ("LoRA tags whose weight is no number were left out: ink",))


def test_a_note_lists_a_few_names_only() -> None:
    (note,) = lora_tags.split("".join(f"<hypernet:{'x' * 60}{n}:1>" for n in range(2000)) + "<hypernet:last>")[2]
    assert len(note) < 300
    many = "".join(f"<hypernet:h{n}:1>" for n in range(9))
    assert lora_tags.split(many)[2][0].endswith("h0, h1, h2, h3, h4 and 4 more")


def test_detached_tags_are_kept_as_they_were_written() -> None:
    prompt = "a <lora:x:0.50:1> cat, <hypernet:h:1>"
    assert lora_tags.detach(prompt) == ("a cat", "<lora:x:0.50:1> <hypernet:h:1>")
    assert lora_tags.detach(" a cat ") == (" a cat ", "")


@given(st.text(alphabet="a<>:lor1.,( )y\n", max_size=60))
def test_a_split_text_holds_no_tag_and_splits_no_further(prompt: str) -> None:
    text, _, _ = lora_tags.split(prompt)
    again = lora_tags.split(text)
    # What stands around a tag may form another one: `<lo<lora:a>ra:b>`.
    assert len(again[0]) <= len(text) <= len(prompt)
    if "<" not in text:
        assert again == (text, (), ())
