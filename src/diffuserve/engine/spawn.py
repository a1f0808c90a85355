"""Starting an engine process: its command, its socket, and the environment in which torch is fast."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffuserve.engine.messages import Command, EngineConfig
from diffuserve.engine.wire import encode

COMMAND = (sys.executable, "-m", "diffuserve.engine.process")
"""The descriptor of the socket is added as the last argument."""

_LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
)
_ALLOCATORS = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")


@dataclass(frozen=True, slots=True)
class Child:
    """A running engine process and our end of its socket."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, command: Command) -> None:
        """Hand a command to the transport; a process that is gone swallows it. Raises WireError.

        Nothing waits for the socket to drain: the other end has a thread that does nothing but read.
        """
        header, attachment = encode(command)
        self.writer.write(header)
        if attachment:
            self.writer.write(attachment)

    async def end(self, patience: float) -> int:
        """Wait up to `patience` seconds for the process to end by itself, then kill it and what it started.

        Returns its exit status as `subprocess` counts it: negative for a signal.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.process.wait()), patience)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.writer.close()
        return await self.process.wait()


async def spawn(command: Sequence[str], config: EngineConfig) -> Child:
    """Start an engine process. It leads a session of its own, so that Ctrl-C at the terminal does not reach it."""
    return await launch(command, environment(config, os.environ, find_allocator(_LIBRARY_FOLDERS)))


async def launch(command: Sequence[str], env: Mapping[str, str]) -> Child:
    """Start a process with just that environment, in a session of its own; the last argument is its end of the socket."""
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as undo, theirs:
        undo.callback(ours.close)
        process = await asyncio.create_subprocess_exec(
            *command,
            str(theirs.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            env=env,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        undo.pop_all()
    reader, writer = await asyncio.open_connection(sock=ours)
    return Child(process, reader, writer)


def environment(config: EngineConfig, base: Mapping[str, str], allocator: Path | None) -> dict[str, str]:
    """`base` and what makes the engine fast and quiet; what the user has set stays as it is."""
    wanted = {
        # glibc maps every large block afresh and pays for its page faults at each step: keep them instead.
        "MALLOC_MMAP_THRESHOLD_": "4294967296",
        "MALLOC_TRIM_THRESHOLD_": "17179869184",
        # OpenMP threads that wait for each other spin before they sleep. Left to itself they spin so long that another
        # busy program on the machine makes a step ten to a hundred times slower; this much costs an idle one 7%.
        "GOMP_SPINCOUNT": "10000",
        "PYTHONUNBUFFERED": "1",
        # The server has already put every model on disk; nothing here waits for a network.
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "DIFFUSERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if config.compile:
        # The option of torch.compile that has this name does nothing; the variable does.
        wanted["TORCHINDUCTOR_FREEZING"] = "1"
    if allocator is not None and "tcmalloc" not in base.get("LD_PRELOAD", ""):
        wanted["LD_PRELOAD"] = " ".join(filter(None, (base.get("LD_PRELOAD"), str(allocator))))
        return {**wanted, **base, "LD_PRELOAD": wanted["LD_PRELOAD"]}
    return {**wanted, **base}


def find_allocator(folders: Iterable[str] = _LIBRARY_FOLDERS) -> Path | None:
    """tcmalloc, where the system has it: the UNet gains a sixth and the VAE a half by it."""
    for folder in folders:
        for name in _ALLOCATORS:
            path = Path(folder, name)
            if path.exists():
                return path
    return None


def exit_words(status: int) -> str:
    """ "was killed by SIGKILL" or "ended with status 1"."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
