"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass, field

from diffuserve.core.account import KeyLimits


@dataclass(frozen=True, slots=True)
class Principal:
    """The account that pays and the key that was shown for it."""

    account: str
    key_id: str | None = None
    scopes: frozenset[str] = frozenset()
    limits: KeyLimits = field(default_factory=KeyLimits)
    priority: int = 0

    def allows(self, kind: str, name: str) -> bool:
        """Whether the scopes let it use this dialect or model: no scope of a kind means all of that kind."""
        named = {scope for scope in self.scopes if scope.startswith(kind + ":")}
        return not named or f"{kind}:{name}" in named

    @property
    def is_admin(self) -> bool:
        return "admin" in self.scopes


ANONYMOUS = Principal(account="local", scopes=frozenset({"admin"}))
"""Everybody, on a server that runs without keys."""
