"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """The account that pays and the key that was shown for it."""

    account: str
    key_id: str | None = None
    scopes: frozenset[str] = frozenset()


ANONYMOUS = Principal(account="local")
"""Everybody, on a server that runs without keys."""
