"""The real command line as a subprocess, for acceptance tests."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

COMMAND = (sys.executable, "-m", "diffuserve.cli")
PATIENCE = 90.0
"""Seconds after which a test gives up on a process; only a broken one ever takes so long."""
LIFETIME = 900.0
"""Seconds after which a server is ended whatever the tests do; all tests of a file may share it."""


def environment(**settings: str) -> dict[str, str]:
    """This environment without settings of whoever runs the tests, and `DIFFUSERVE_*` from `settings`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DIFFUSERVE_")}
    ours = {f"DIFFUSERVE_{name.upper()}": value for name, value in settings.items()}
    return {**kept, **ours, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}


def command(*arguments: str | Path, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Server:
    """A running `diffuserve serve`."""

    def __init__(self, data: Path, arguments: tuple[str, ...], settings: dict[str, str]) -> None:
        flags = ["serve", "--port", "0", "--data-dir", str(data), *arguments]
        self.process = subprocess.Popen(
            [*COMMAND, *flags],
            cwd=data.parent,
            env=environment(**settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._deadline = threading.Timer(PATIENCE, self.process.kill)
        self._deadline.start()
        self.url = self._until(r"Ready at (\S+)")
        self._until("Ctrl-C")
        self._deadline.cancel()
        self._deadline = threading.Timer(LIFETIME, self.process.kill)
        self._deadline.start()

    def read_until(self, pattern: str) -> None:
        self._until(pattern)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and wait for the end; the exit status as `subprocess` counts it."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        assert self.process.stdout is not None
        self.lines += self.process.stdout.readlines()
        return self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.ended()
        self._deadline.cancel()

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def get(self, path: str) -> Any:
        return call(self.url + path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """A JSON body to the native dialect, a form to all others."""
        if path.startswith("/diffuserve/"):
            return call(self.url + path, json.dumps(body).encode(), "application/json")
        return call(self.url + path, urlencode(body).encode(), "application/x-www-form-urlencoded")

    def events(self, job_id: str) -> Iterator[tuple[str, Any]]:
        """A job's events until it ends."""
        with urlopen(f"{self.url}/diffuserve/v1/jobs/{job_id}/events", timeout=PATIENCE) as stream:
            name = ""
            for raw in stream:
                field, _, value = raw.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)

    def _until(self, pattern: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match[match.lastindex or 0]
        raise AssertionError(f"the server ended ({self.process.wait()}) without {pattern!r}:\n{self.output}")


@contextmanager
def serving(data: Path, *arguments: str, **settings: str) -> Iterator[Server]:
    """A server that is ready; killed at the end if it still runs."""
    server = Server(data, arguments, settings)
    try:
        yield server
    finally:
        server.close()


def call(url: str, body: bytes | None = None, content_type: str = "") -> Any:
    """JSON of an answer; for other media types its bytes."""
    request = Request(url, data=body, headers={"Content-Type": content_type} if content_type else {})
    with urlopen(request, timeout=PATIENCE) as answer:
        data = answer.read()
        return json.loads(data) if "json" in answer.headers["Content-Type"] else data
