"""AUTOMATIC1111's prompt syntax: `(word)`, `((word))`, `(word:1.2)`, `[word]`, `\\(literal\\)` and `BREAK`. Pure text.

A round bracket multiplies the weight of what it holds by 1.1, a square one divides by 1.1, `(…:w)` multiplies by w; they
nest; what is left open counts to the end. The syntax is described in the web UI's own wiki ("Attention/emphasis").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ROUND = 1.1
SQUARE = 1 / 1.1

_TOKEN = re.compile(
    r"""
    \\[\\()\[\]]                                       # an escaped bracket or backslash
    | :\s*(?P<weight>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)    # the end of (…:1.2)
    | [()\[\]]
    | \bBREAK\b
    | [^\\()\[\]:B]+                                   # a run of plain text
    | .                                                # one of the characters above with no meaning here
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Fragment:
    """A run of text with one weight."""

    text: str
    weight: float


def parse(prompt: str) -> list[list[Fragment]]:
    """The prompt's sections (split by `BREAK`), each a list of fragments; weights multiply along the nesting.

    Never fails: a bracket without its partner is text if it closes, and reaches to the end if it opens.
    """
    pieces: list[tuple[str, float] | None] = []  # None is a BREAK
    opened: list[tuple[str, int]] = []

    def scale(start: int, factor: float) -> None:
        for i in range(start, len(pieces)):
            piece = pieces[i]
            if piece is not None:
                pieces[i] = (piece[0], piece[1] * factor)

    def close(bracket: str) -> int | None:
        """Where the innermost open `bracket` began; brackets of the other kind inside it stay open."""
        for i in range(len(opened) - 1, -1, -1):
            if opened[i][0] == bracket:
                return opened.pop(i)[1]
        return None

    for match in _TOKEN.finditer(prompt):
        token = match.group(0)
        if len(token) == 2 and token[0] == "\\":
            pieces.append((token[1], 1.0))
        elif token in "([":
            opened.append((token, len(pieces)))
        elif token == "BREAK":
            pieces.append(None)
        elif match.group("weight") is not None and (start := close("(")) is not None:
            scale(start, float(match.group("weight")))
        elif token == ")" and (start := close("(")) is not None:
            scale(start, ROUND)
        elif token == "]" and (start := close("[")) is not None:
            scale(start, SQUARE)
        else:
            pieces.append((token, 1.0))
    for bracket, start in opened:
        scale(start, ROUND if bracket == "(" else SQUARE)
    return _sections(pieces)


def _sections(pieces: list[tuple[str, float] | None]) -> list[list[Fragment]]:
    """Pieces grouped at BREAKs, with neighbours of equal weight joined (so that tokens are not torn apart)."""
    sections: list[list[Fragment]] = [[]]
    for piece in pieces:
        if piece is None:
            sections.append([])
            continue
        text, weight = piece[0], round(piece[1], 6)
        section = sections[-1]
        if section and section[-1].weight == weight:
            section[-1] = Fragment(section[-1].text + text, weight)
        else:
            section.append(Fragment(text, weight))
    return sections
