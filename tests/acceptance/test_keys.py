"""Keys as an operator meets them: made beside a running server, which closes at once."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from support.server import PATIENCE, command, serving

pytestmark = pytest.mark.acceptance


def make_key(data: Path, *flags: str) -> dict[str, Any]:
    done = command("keys", "create", "--account", "acme", *flags, "--data-dir", data, "--json", cwd=data.parent)
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def status(url: str, token: str = "") -> int:
    request = Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urlopen(request, timeout=PATIENCE) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def until(url: str, token: str, wanted: int, seconds: float) -> bool:
    """Whether `url` answers so within `seconds`."""
    deadline = time.monotonic() + seconds
    while status(url, token) != wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_running_server_closes_with_its_first_key_and_opens_again_after_the_last(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, "--engine", "fake") as server:
        url = f"{server.url}/ping"
        assert status(url) == 200
        made = make_key(data)
        assert until(url, "", 401, seconds=5)
        assert status(url, made["token"]) == 200
        done = command("keys", "rotate", made["id"], "--data-dir", data, "--json", cwd=tmp_path)
        assert until(url, made["token"], 401, seconds=5)
        new = json.loads(done.stdout)
        assert status(url, new["token"]) == 200
        command("keys", "revoke", new["id"], "--data-dir", data, cwd=tmp_path)
        assert until(url, "", 200, seconds=5)
        assert server.stop() == 0
        for secret in (made["token"], new["token"]):
            assert secret not in server.output


def test_an_address_for_others_is_refused_without_keys_and_served_with_one(tmp_path: Path) -> None:
    data = tmp_path / "data"
    flags = ("--engine", "fake", "--host", "0.0.0.0")
    refused = command("serve", "--port", "0", "--data-dir", data, *flags, cwd=tmp_path)
    assert refused.returncode == 2
    assert "diffuserve keys create --account" in refused.stderr
    assert "--allow-anonymous" in refused.stderr
    assert not data.exists()
    made = make_key(data)
    with serving(data, *flags) as server:
        assert (status(f"{server.url}/ping"), status(f"{server.url}/ping", made["token"])) == (401, 200)
        # Unlike a loopback address this one never opens to everybody.
        command("keys", "revoke", made["id"], "--data-dir", data, cwd=tmp_path)
        assert until(f"{server.url}/ping", made["token"], 401, seconds=5)
        assert status(f"{server.url}/ping") == 401
