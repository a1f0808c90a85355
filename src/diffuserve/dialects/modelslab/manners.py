"""What a server's owner can set about this dialect."""

from __future__ import annotations

from dataclasses import dataclass

from diffuserve.config import Settings


@dataclass(frozen=True)
class Manners:
    wait_seconds: float = 22.0
    """How long a call waits for its pictures before it is answered `processing`; the vendor's Go and PHP clients hang up
    after 30."""
    legacy_errors: bool = False
    """Answer failures with HTTP 200 and in the words of 2023."""
    writer: bool = False
    """The server has a prompt writer, which `enhance_prompt` asks; else it adds words of its own."""

    @staticmethod
    def of(settings: Settings) -> Manners:
        return Manners(
            settings.modelslab_wait_seconds, settings.modelslab_legacy_errors, writer=settings.enhancement != "off"
        )
