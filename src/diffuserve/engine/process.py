"""The main of an engine process: nothing but the step loop on its main thread.

Torch works on the main thread only, because a second thread with OpenMP regions makes every step 1.3-1.6 times
slower. So one thread reads commands, one writes reports, and neither computes anything. When the server is gone, so
are we.

`local.py` is the other end; `messages.py` is what the two say.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import NoReturn, Protocol

from diffuserve.core.errors import ConfigurationError
from diffuserve.core.events import EngineEvent
from diffuserve.core.request import ResolvedRequest
from diffuserve.engine.messages import (
    Cancel,
    Command,
    Configure,
    Counters,
    EngineConfig,
    Generate,
    JobEvent,
    LoadFailed,
    Ready,
    Report,
    Shutdown,
)
from diffuserve.engine.wire import Channel, WireError

COUNTERS_EVERY = 1.0
"""Seconds between two reports of counters while there is work."""

Emit = Callable[[int, EngineEvent], None]


class Loop(Protocol):
    """What the step loop must offer. Implementation: `diffusion.loop.StepLoop`."""

    def load_default(self) -> tuple[str, str]:
        """Load the default model; returns device and dtype. Raises ConfigurationError."""
        ...

    def submit(self, job_id: int, request: ResolvedRequest, account: str = "", priority: int = 0) -> None:
        """Take a job on; whatever is wrong with it is emitted, never raised."""
        ...

    def cancel(self, job_id: int) -> None: ...

    def step(self) -> bool:
        """One turn of work; False when there was none."""
        ...

    def counters(self) -> Counters: ...


LoopFactory = Callable[[EngineConfig, Emit], Loop]


def main(make_loop: LoopFactory | None = None, arguments: list[str] | None = None) -> NoReturn:
    """Serve the socket whose descriptor is the first argument, until told to stop or left alone."""
    _settle()
    fd = int((arguments if arguments is not None else sys.argv[1:])[0])
    os.set_inheritable(fd, False)
    channel = Channel(socket.socket(fileno=fd))
    commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
    reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(channel, commands), name="read", daemon=True).start()
    writer = threading.Thread(target=_write, args=(channel, reports), name="write", daemon=True)
    writer.start()
    try:
        code = _serve(make_loop or _step_loop, commands, reports.put)
    except Exception:  # noqa: BLE001 - the last word of this process: whatever it was, it goes to the log
        traceback.print_exc()
        code = 1
    reports.put(None)
    writer.join(timeout=5)
    # Torch's own farewell takes seconds and nobody needs it.
    _exit(code)


def _serve(make_loop: LoopFactory, commands: queue.SimpleQueue[Command], report: Callable[[Report], None]) -> int:
    first = commands.get()
    if not isinstance(first, Configure):
        return 1
    try:
        loop = make_loop(first.config, lambda job_id, event: report(JobEvent(job_id, event)))
        device, dtype = loop.load_default()
    except ConfigurationError as error:
        report(LoadFailed(error.message))
        return 0
    except Exception as error:  # noqa: BLE001 - it would go wrong the next time too, so nobody should try again
        traceback.print_exc()
        message = str(error).strip().partition("\n")[0] or type(error).__name__
        report(LoadFailed(f"model {first.config.default_model} could not be loaded: {message}"))
        return 0
    report(Ready(device, dtype))
    _turns(loop, commands, report)


def _turns(loop: Loop, commands: queue.SimpleQueue[Command], report: Callable[[Report], None]) -> NoReturn:
    """Take what came, do one step, again and again; sleep only when there is nothing to do."""
    idle, reported = True, time.monotonic()
    while True:
        for command in _waiting(commands, block=idle):
            if isinstance(command, Generate):
                loop.submit(command.job_id, command.request, command.account, command.priority)
            elif isinstance(command, Cancel):
                loop.cancel(command.job_id)
        was_idle, idle = idle, not loop.step()
        now = time.monotonic()
        if now - reported >= COUNTERS_EVERY or (idle and not was_idle):
            report(loop.counters())
            reported = now


def _waiting(commands: queue.SimpleQueue[Command], *, block: bool) -> list[Command]:
    taken = [commands.get()] if block else []
    while True:
        try:
            taken.append(commands.get_nowait())
        except queue.Empty:
            return taken


def _read(channel: Channel, commands: queue.SimpleQueue[Command]) -> None:
    try:
        while (message := channel.receive()) is not None:
            if isinstance(message, Shutdown):
                break
            if isinstance(message, Configure | Generate | Cancel):
                commands.put(message)
    except (OSError, WireError):
        traceback.print_exc()
        _exit(1)
    # The server let go, or died: the main thread may be deep in a forward pass, so it is not asked.
    _exit(0)


def _write(channel: Channel, reports: queue.SimpleQueue[Report | None]) -> None:
    try:
        while (report := reports.get()) is not None:
            channel.send(report)
    except OSError:
        _exit(0)
    except WireError:
        traceback.print_exc()
        _exit(1)


def _settle() -> None:
    """Signals mean the server, which decides when an engine ends: it drains first, while a service manager signals
    all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.enable()
    # What libraries print is no answer of the command line that started us.
    os.dup2(2, 1)


def _step_loop(config: EngineConfig, emit: Emit) -> Loop:
    try:
        from diffuserve.engine.diffusion.loop import StepLoop
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "diffuserve":
            raise
        raise ConfigurationError(
            f"the engine needs {error.name}: pip install 'diffuserve[diffusion]', or start with --engine fake"
        ) from None
    return StepLoop(config, emit)


def _exit(code: int) -> NoReturn:
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
