from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.engine.diffusion.weighting import parse

pytestmark = pytest.mark.unit


def flat(prompt: str) -> list[tuple[str, float]]:
    [section] = parse(prompt)
    return [(fragment.text, round(fragment.weight, 4)) for fragment in section]


@pytest.mark.parametrize(
    ("prompt", "fragments"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("a (cat) b", [("a ", 1.0), ("cat", 1.1), (" b", 1.0)]),
        ("((word))", [("word", 1.21)]),
        ("(word:1.3)", [("word", 1.3)]),
        ("(word:1.3 )", [("word", 1.3)]),
        ("(word : .5)", [("word ", 0.5)]),
        ("[word]", [("word", 0.9091)]),
        ("(a (b) c:1.5)", [("a ", 1.5), ("b", 1.65), (" c", 1.5)]),
        ("([a])", [("a", 1.0)]),
        (r"\(literal\)", [("(literal)", 1.0)]),
        (r"\\", [("\\", 1.0)]),
        ("(((", []),
        ("(open", [("open", 1.1)]),
        ("a)b", [("a)b", 1.0)]),
        ("a]b", [("a]b", 1.0)]),
        ("1:2", [("1:2", 1.0)]),
        ("ratio 16:9) wide", [("ratio 16:9) wide", 1.0)]),
        ("BREAKFAST", [("BREAKFAST", 1.0)]),
        ("a: b", [("a: b", 1.0)]),
        ("(negative:-0.5)", [("negative", -0.5)]),
        ("(红苹果:1.2)", [("红苹果", 1.2)]),
        ("", []),
    ],
)
def test_a_prompt_is_read_as_the_web_ui_reads_it(prompt, fragments):
    assert flat(prompt) == fragments


def test_break_splits_sections():
    assert [[f.text for f in section] for section in parse("x BREAK y")] == [["x "], [" y"]]


def test_emphasis_reaches_across_a_break():
    assert [[f.weight for f in section] for section in parse("(x BREAK y:1.2)")] == [[1.2], [1.2]]


@given(st.text(alphabet="ab ()[]:.\\1BREAK红", max_size=40))
def test_no_text_is_too_odd_and_no_letter_is_lost(prompt):
    sections = parse(prompt)
    text = "".join(fragment.text for section in sections for fragment in section)
    assert text.count("红") == prompt.count("红")
    assert text.count("b") == prompt.count("b")
