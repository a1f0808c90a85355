"""What a model says of itself, and what the server's owner says of it instead.

Any model folder may hold a `diffuserve.json`, its *card*; the `[[models]]` tables of `diffuserve.toml` say the same
things and win. What neither says is read from the checkpoint by `inspect.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from diffuserve.core import samplers
from diffuserve.core.errors import ConfigurationError, InvalidParameter

CARD = "diffuserve.json"


@dataclass(frozen=True, slots=True)
class Overrides:
    """Facts that are laid over what the checkpoint says; `None` and empty mean: nothing said."""

    aliases: tuple[str, ...] = ()
    description: str = ""
    languages: tuple[str, ...] = ()
    sampler: str | None = None
    """Any name that `core.samplers` knows."""
    num_inference_steps: int | None = None
    """1..1000."""
    guidance_scale: float | None = None
    """0..100."""
    native_min: int | None = None
    """Shortest side that the model draws well, pixels; `native_max` the longest."""
    native_max: int | None = None
    hires: bool | None = None
    """Draw sizes beyond the native range in two passes."""

    def over(self, other: Overrides) -> Overrides:
        """These, and `other` where these say nothing."""
        chosen = {field.name: getattr(self, field.name) for field in fields(self)}
        missing = {name: getattr(other, name) for name, value in chosen.items() if value in (None, (), "")}
        return Overrides(**{**chosen, **missing})


def read_card(folder: Path) -> Overrides:
    """The card of a model folder; nothing said where there is none. Raises ConfigurationError for one that is wrong."""
    path = folder / CARD
    try:
        card = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Overrides()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(card, dict):
        raise ConfigurationError(f"{path} must hold a JSON object")
    return _checked(path, card)


def sampler_id(name: str, where: str) -> str:
    """The id of the sampler that `name` means. Raises ConfigurationError naming `where` it was written."""
    try:
        choice = samplers.resolve(name)
    except InvalidParameter as error:
        raise ConfigurationError(f"{where}: {error.message}") from None
    if choice.schedule.id != samplers.AUTOMATIC:
        raise ConfigurationError(f"{where}: sampler must be a name without a schedule, got {name}")
    return choice.sampler.id


def _checked(path: Path, card: Mapping[str, Any]) -> Overrides:
    known = {field.name for field in fields(Overrides)}
    unknown = sorted(set(card) - known)
    if unknown:
        raise ConfigurationError(
            f"{path} holds unknown fields: {', '.join(unknown)}; known: {', '.join(sorted(known))}"
        )
    for name, accepted, fits in _RULES:
        if name in card and not fits(card[name]):
            raise ConfigurationError(f"{path}: {name} must be {accepted}, got {card[name]!r}")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in card.items()}
    return Overrides(**values)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _whole(low: int, high: int, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100


_RULES = (
    ("aliases", "a list of names", _texts),
    ("description", "text", _text),
    ("languages", "a list of language codes", _texts),
    ("sampler", "text", _text),
    ("num_inference_steps", "a whole number from 1 to 500", lambda value: _whole(1, 500, value)),
    ("guidance_scale", "a number from 0 to 100", _number),
    ("native_min", "a whole number of pixels, 8 or more", lambda value: _whole(8, 2**16, value)),
    ("native_max", "a whole number of pixels, 8 or more", lambda value: _whole(8, 2**16, value)),
    ("hires", "true or false", _truth),
)
