"""What every benchmark shares: who ran it where, closed-loop clients, server processes, and results on disk."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from ctypes.util import find_library
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BIN = Path(sys.executable).parent
BUSY = os.getloadavg()[0]
"""Processes at work when the benchmark began: well below 1 on an idle machine."""


def machine() -> dict[str, str]:
    """The machine and the commit, so that a number can be judged and repeated."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    dirty = subprocess.run(["git", "status", "--porcelain", "src"], cwd=ROOT, capture_output=True, text=True)
    return {
        "processor": f"{model}, {os.cpu_count()} cores",
        "memory": f"{int(memory) / 2**20:.0f} GiB",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "allocator": allocator() or "the C library's",
        "others_at_work": f"{BUSY:.1f}",
        "commit": commit.stdout.strip() + (" with changes" if dirty.stdout.strip() else ""),
        "date": time.strftime("%Y-%m-%d"),
    }


def allocator() -> str | None:
    """The tcmalloc that is there, which the engine preloads too."""
    return find_library("tcmalloc_minimal") or find_library("tcmalloc")


def preload_allocator() -> None:
    """Start this process again in the environment of the engine's own process: its allocator, the way its threads wait for
    each other. Nothing where it has that already."""
    if "BENCH_AS_ENGINE" not in os.environ:
        sys.stdout.flush()
        os.execve(
            sys.executable, [sys.executable, *sys.orig_argv[1:]], {**engine_environment(), "BENCH_AS_ENGINE": "1"}
        )


def engine_environment(*, compiled: bool = False) -> dict[str, str]:
    """What the server gives its engine process."""
    from diffuserve.engine import spawn
    from diffuserve.engine.messages import EngineConfig

    return spawn.environment(EngineConfig((), "", compile=compiled), os.environ, spawn.find_allocator())


def save(name: str, figures: dict[str, Any]) -> None:
    """Print the figures and keep them in `results/<name>.json`; with BENCH_DRY set they are only printed."""
    if not os.environ.get("BENCH_DRY"):
        RESULTS.mkdir(exist_ok=True)
        report = {"benchmark": name, "machine": machine(), "figures": figures}
        (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def server(
    command: Sequence[str], ready_url: str, seconds: float = 300, **environment: str
) -> Iterator[subprocess.Popen]:
    """A server process that answers at `ready_url`; stopped, with its children, at the end."""
    preload = {"LD_PRELOAD": allocator()} if allocator() else {}
    process = subprocess.Popen(
        command,
        env={**os.environ, **preload, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _await(process, ready_url, seconds)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def diffuserve(port: int, data_dir: Path, *flags: str) -> list[str]:
    return [str(BIN / "diffuserve"), "serve", "--port", str(port), "--data-dir", str(data_dir), *flags]


async def closed_loop(jobs: Sequence[Any], clients: int, call: Callable[[Any], Awaitable[None]]) -> tuple[float, list]:
    """`clients` callers that send their next job when the last one is answered; (wall seconds, [(job, seconds)])."""
    waiting = iter(jobs)
    latencies: list[tuple[Any, float]] = []

    async def client() -> None:
        for job in waiting:
            began = time.perf_counter()
            await call(job)
            latencies.append((job, time.perf_counter() - began))

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return time.perf_counter() - began, latencies


async def open_loop(
    jobs: Sequence[Any], rate: float, call: Callable[[Any], Awaitable[None]], seed: int = 1
) -> tuple[float, list]:
    """Callers that come by themselves, `rate` a second and at random (a Poisson process), whether or not the ones before
    were answered; (seconds from the first to the last answer, [(job, seconds)])."""
    random = Random(seed)
    latencies: list[tuple[Any, float]] = []

    async def caller(job: Any) -> None:
        began = time.perf_counter()
        await call(job)
        latencies.append((job, time.perf_counter() - began))

    began = due = time.perf_counter()
    async with asyncio.TaskGroup() as callers:
        for job in jobs:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            callers.create_task(caller(job))
            due += random.expovariate(rate)
    return time.perf_counter() - began, latencies


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]


def family_of(pid: int) -> list[int]:
    """A process and all its descendants."""
    pids = [pid]
    for parent in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
    return pids


def cpu_seconds(pids: Sequence[int]) -> float:
    """Processor time that these processes have used, user and system."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_memory_mib(pids: Sequence[int]) -> float:
    """The sum of these processes' largest resident sizes."""
    total = 0
    for pid in pids:
        total += next((int(line.split()[1]) for line in _lines(f"/proc/{pid}/status") if line.startswith("VmHWM")), 0)
    return total / 1024


def _await(process: subprocess.Popen, url: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with exit code {process.returncode}: {process.args}")
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.02)
    raise SystemExit(f"nothing answered at {url} within {seconds:.0f} s")


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
