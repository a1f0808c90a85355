"""The main of a prompt writer's process: reads questions, one JSON line each, and answers them in their order.

Torch works on the main thread only; another one reads, and ends the process as soon as the server is gone. Models are loaded
by the first question that needs them. `writer.py` is the other end, `diffusion/language_models.py` what answers.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from diffuserve.core.errors import DiffuserveError

MAX_TEXT = 8000
"""Characters of an answer."""


class Models(Protocol):
    """What the models must offer. Implementation: `diffusion.language_models.LanguageModels`."""

    def answer(self, task: str, text: str) -> str:
        """`task` is `translate` or `enhance`. Raises DiffuserveError."""
        ...


def main(make_models: Callable[[dict[str, Any]], Models] | None = None) -> NoReturn:
    """Serve the socket whose descriptor is the last argument, until the other side lets go."""
    # Signals mean the server, which decides when this ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.enable()
    # What libraries print is no answer of the command line that started us.
    os.dup2(2, 1)
    fd = int(sys.argv[-1])
    os.set_inheritable(fd, False)
    connection = socket.socket(fileno=fd)
    questions: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, questions), name="read", daemon=True).start()
    make, config = make_models or _language_models, questions.get()
    models: Models | None = None
    while True:
        question = questions.get()
        try:
            models = models or make(config)
            reply = {"text": models.answer(question["task"], question["text"])[:MAX_TEXT]}
        except DiffuserveError as error:
            reply = {"error": error.message}
        except Exception as error:  # noqa: BLE001 - the next question may fare better
            traceback.print_exc()
            reply = {"error": f"the prompt writer failed: {type(error).__name__}"}
        try:
            connection.sendall(json.dumps(reply, ensure_ascii=False).encode(errors="replace") + b"\n")
        except OSError:
            _exit(0)


def _read(connection: socket.socket, questions: queue.SimpleQueue[dict[str, Any]]) -> None:
    try:
        for line in connection.makefile("rb"):
            questions.put(json.loads(line))
    except (OSError, ValueError):
        traceback.print_exc()
        _exit(1)
    # The server let go, or died: the main thread may be deep in a model, so it is not asked.
    _exit(0)


def _language_models(config: dict[str, Any]) -> Models:
    from diffuserve.engine.diffusion.language_models import LanguageModels

    return LanguageModels(**config)


def _exit(code: int) -> NoReturn:
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
