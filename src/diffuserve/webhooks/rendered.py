"""A notification in its dialect's words, ready to be sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from diffuserve.core.delivery import Delivery
from diffuserve.core.job import Job


@dataclass(frozen=True, slots=True)
class Rendered:
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers, for example signatures: `sign.headers`."""


Render = Callable[[Job, Delivery], Awaitable[Rendered]]
"""Made anew for every attempt, so that links and signatures in it are fresh."""
