"""What a server's owner can set about this dialect."""

from __future__ import annotations

from dataclasses import dataclass

from diffuserve.config import Settings
from diffuserve.core.errors import ConfigurationError, UnknownModel
from diffuserve.jobs.catalog import Catalog


@dataclass(frozen=True)
class Manners:
    model: str | None = None
    """The model behind `stableDiffsionXL`, which callers cannot choose; None is the server's default one."""
    side: int = 512
    """Width and height of a picture, pixels."""
    wait_seconds: float = 300.0
    """How long a call waits for its picture before it is answered 504."""
    bench_mark: str = ""
    """The class of device in account records."""
    always_104: bool = False
    """Failed tasks are 104 at every path, and not at sadTalker's only."""

    @staticmethod
    def of(settings: Settings) -> Manners:
        return Manners(
            settings.ipollo_model,
            settings.ipollo_side,
            settings.ipollo_wait_seconds,
            settings.ipollo_bench_mark,
            settings.ipollo_always_104,
        )

    def check(self, catalog: Catalog) -> None:
        """Raises ConfigurationError for a model that is not there."""
        try:
            catalog.find(self.model)
        except UnknownModel as error:
            raise ConfigurationError(f"setting ipollo_model: {error.message}") from None
