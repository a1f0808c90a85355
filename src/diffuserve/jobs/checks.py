"""What a single value may be, and what this server draws at most; every refusal names its parameter.

Names of values within a part of the request have a dot (`controls.scale`); a dialect translates them as any other name.
"""

from __future__ import annotations

from dataclasses import dataclass

from diffuserve.core import samplers
from diffuserve.core.errors import InvalidParameter


@dataclass(frozen=True, slots=True)
class Limits:
    """What this server draws at most."""

    max_pixels: int
    """Width times height of one picture."""
    max_images: int = 16
    max_steps: int = samplers.MAX_STEPS
    max_prompt: int = 20_000
    """Characters, of the prompt and of the negative prompt each."""
    max_enlargement: float = 2.0
    """The longest side that a second pass draws, in longest native sides: what it costs grows with the fourth power."""


def text(param: str, value: str, limits: Limits) -> str:
    """`value`, if it is Unicode text of a bearable length. Raises InvalidParameter, as the others do."""
    if len(value) > limits.max_prompt:
        raise InvalidParameter(param, f"at most {limits.max_prompt} characters long, got {len(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON can smuggle it in
        raise InvalidParameter(param, "valid Unicode text", value) from None
    return value


def integer(param: str, value: object, low: int, high: int) -> int:
    # bool is an int to Python and never a number to a caller.
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise InvalidParameter(param, f"a whole number between {low} and {high}", value)


def number(param: str, value: object, low: float, high: float, *, above: bool = False) -> float:
    """`above`: `low` itself is refused too."""
    # NaN fails every comparison, and so is refused with the rest.
    if isinstance(value, int | float) and not isinstance(value, bool):  # noqa: SIM102 - two thoughts
        if low <= value <= high and not (above and value == low):
            return float(value)
    between = f"over {low:g} and at most {high:g}" if above else f"between {low:g} and {high:g}"
    raise InvalidParameter(param, f"a number {between}", value)


def steps(param: str, value: object, sampler: samplers.Sampler, limits: Limits) -> int:
    """A number of steps that the sampler can take."""
    most = min(limits.max_steps, sampler.max_steps)
    if sampler.max_steps < limits.max_steps and isinstance(value, int) and value > most:
        raise InvalidParameter(param, f"at most {most} with sampler {sampler.label}", value)
    return integer(param, value, 1, most)
