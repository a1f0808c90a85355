"""What a server's owner can set about this dialect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from diffuserve.config import RecipeEntry, Settings


@dataclass(frozen=True)
class Manners:
    link_seconds: int = 86_400
    """How long a link to a result opens."""
    replay_seconds: float = 5.0
    """For how long after its first use a signature may be used again."""
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Session tokens by access key."""
    recipes: tuple[RecipeEntry, ...] = ()

    @staticmethod
    def of(settings: Settings) -> Manners:
        tokens = {key: token.get_secret_value() for key, token in settings.volcengine_tokens.items()}
        return Manners(
            settings.volcengine_link_seconds, settings.volcengine_replay_seconds, tokens, tuple(settings.recipes)
        )
