"""The vendors' Node clients, installed once from `tests/acceptance/node/package-lock.json`."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.server import PATIENCE

FOLDER = Path(__file__).resolve().parent.parent / "acceptance" / "node"
_INSTALLED = FOLDER / "node_modules" / ".package-lock.json"


def installed() -> Path:
    """The folder with the clients in it; the test is skipped where there is no Node."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("needs Node 20 and npm")
    with (FOLDER / "package.json").open() as manifest:
        # Two test runs at the same time must not install into one folder.
        fcntl.flock(manifest, fcntl.LOCK_EX)
        if not _INSTALLED.exists() or _INSTALLED.stat().st_mtime < (FOLDER / "package-lock.json").stat().st_mtime:
            flags = ("--ignore-scripts", "--no-audit", "--no-fund")
            done = subprocess.run([npm, "ci", *flags], cwd=FOLDER, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    return FOLDER


def run(script: str, asked: Any, **environment: str) -> Any:
    """What `script` of that folder prints, as JSON, when it is given `asked` as JSON."""
    done = subprocess.run(
        ["node", script],
        cwd=installed(),
        input=json.dumps(asked),
        env={"PATH": _path(), "NO_PROXY": "*", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _path() -> str:
    node = shutil.which("node")
    assert node is not None
    return str(Path(node).parent)
