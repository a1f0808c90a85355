"""The hashes of models, for dialects that print them: each is reckoned once, in a thread, and remembered."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from diffuserve.checkpoints.digest import digest
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import ModelInfo

log = logging.getLogger(__name__)


class ModelHashes:
    def __init__(self) -> None:
        self._known: dict[str, asyncio.Task[str]] = {}

    def begin(self, model: ModelInfo) -> None:
        """Reckon it beside other work: the file of a large model takes some seconds."""
        known = self._known.get(model.path)
        if known is None or known.cancelled():
            self._known[model.path] = asyncio.create_task(_reckon(model), name=f"hash-{model.name}")

    async def of(self, model: ModelInfo) -> str:
        """SHA-256, hexadecimal; empty where the model's files cannot be read any more."""
        self.begin(model)
        # Whoever hangs up does not take it from the others.
        return await asyncio.shield(self._known[model.path])


async def _reckon(model: ModelInfo) -> str:
    try:
        return await asyncio.to_thread(digest, Path(model.path))
    except (OSError, ConfigurationError) as error:
        log.warning("the hash of model %s is not known: %s", model.name, type(error).__name__)
        return ""
