"""What `prepare` hands to the worker, without Pillow, so that the jobs room can name it."""

from __future__ import annotations

from dataclasses import dataclass, field

from diffuserve.core.request import ResolvedRequest

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are the first ones outside."""


@dataclass(frozen=True, slots=True)
class Underlay:
    """What an inpainted drawing is pasted on. Made once for a job, used for each of its pictures."""

    picture: bytes = field(repr=False)
    """`init_image` at the size of the result: an RGB PNG."""
    mask: bytes = field(repr=False)
    """How much of the drawing shows, softened: a grey PNG (mode L) of the same size; 0 is none."""
    box: Box | None
    """Where the drawing lies on it; None is everywhere."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request whose pictures are what an engine needs."""

    request: ResolvedRequest
    notes: tuple[str, ...] = ()
    """To the caller, about what could not be done as asked."""
    underlay: Underlay | None = None
