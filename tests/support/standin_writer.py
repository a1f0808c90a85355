"""A prompt writer's process without torch: run as a script it serves a socket.

It answers with the task, the text, and its own process id. Words in the text make it misbehave: `crash`, `silent` (never
answers), `fail`, `bug`, `garbage`. `crash` as the translation folder does so at the first question of every life.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from diffuserve.core.errors import ConfigurationError
from diffuserve.engine.writing import main


class StandIn:
    def __init__(self, config: dict[str, Any]) -> None:
        if config["translation"] == "crash":
            _die()
        self._instructions = config["instructions"]

    def answer(self, task: str, text: str) -> str:
        if "crash" in text:
            _die()
        if "silent" in text:
            threading.Event().wait()
        if "fail" in text:
            raise ConfigurationError("the model is made of cheese")
        if "bug" in text:
            raise ValueError("a secret")
        return f"{task} {text} {self._instructions} {os.getpid()} {'x' * 9000 if 'long' in text else ''}"


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(StandIn)
