"""The law: a token or a secret is seen once, by whoever made it, and never in a log, an answer, a counter or a `repr`."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from diffuserve import logs
from diffuserve.config import Settings
from diffuserve.core.account import KeyType
from support.app import Server

pytestmark = pytest.mark.unit


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, of every level."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure("debug", stream=stream)
    yield stream
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


async def answers(server: Server, token: str) -> str:
    """Every answer to a token, right or wrong, at every place where one may stand, with all that can go wrong beside."""
    client, said = server.client, []
    for path in ("/diffuserve/v1/jobs", "/txt2img", "/nowhere", "/metrics", "/files/x"):
        for headers in ({"authorization": f"Bearer {token}"}, {"x-api-key": token}, {"authorization": token}):
            said.append(await client.post(path, json={"prompt": "x", "sampler": "magic"}, headers=headers))
            said.append(await client.get(path, headers=headers))
        signed = {"prompt": "x", "callback_url": "https://hooks.example", "callback_secret": token}
        said.append(await client.post(path, json=signed, headers={"authorization": f"Bearer {token}"}))
        for body in ({"prompt": "", "key": token}, {"prompt": "x", "key": token, "num_outputs": "99"}):
            said.append(await client.post(path, json=body))
            said.append(await client.post(path, data=body))
        said.append(await client.post(path, content=b"{", params={"key": token}))
        said.append(await client.get(path, params={"key": token, "job_id": token}))
    return "\n".join(f"{answer.headers}\n{answer.text}" for answer in said)


@pytest.mark.parametrize("bug", [False, True], ids=["sound", "broken"])
async def test_a_token_is_in_no_log_answer_or_counter(
    server: Server, log: io.StringIO, monkeypatch: pytest.MonkeyPatch, bug: bool
) -> None:
    made = await server.keys.create("acme", KeyType.BEARER)
    if bug:
        # The worst case: a bug whose message holds the key, written with its traceback.
        async def broken(*_: object, **__: object) -> None:
            logging.getLogger("diffuserve").debug("calling with Authorization: Bearer %s", made.secret)
            raise RuntimeError(f"cannot use {made.secret}")

        monkeypatch.setattr(server.jobs, "submit", broken)
        headers = {"authorization": f"Bearer {made.secret}"}
        assert (await server.client.post("/txt2img", data={"prompt": "x"}, headers=headers)).status_code == 500
        assert "Traceback" in log.getvalue()
    for token in (made.secret, "dsk_" + "A" * 43):
        said = await answers(server, token)
        counted = (await server.client.get("/metrics")).text
        for text in (said, counted, log.getvalue()):
            assert token not in text


async def test_stored_secrets_cannot_be_read_from_the_database_file(server: Server, tmp_path: Path) -> None:
    bearer = await server.keys.create("acme", KeyType.BEARER)
    pair = await server.keys.create("acme", KeyType.PAIR)
    files = b"".join(path.read_bytes() for path in tmp_path.glob("jobs.sqlite3*"))
    assert bearer.key.id.encode() in files
    for secret in (bearer.secret, pair.secret):
        assert secret.encode() not in files


async def test_no_repr_shows_a_secret(server: Server) -> None:
    made = await server.keys.create("acme", KeyType.BEARER)
    pair = await server.keys.create("acme", KeyType.PAIR)
    await server.client.get("/ping", headers={"authorization": f"Bearer {made.secret}"})
    gate = server.rooms.gate
    known, secret = await gate.by_access_key(pair.key.access_key or "")
    assert secret == pair.secret
    shown = " ".join(map(repr, (made, pair, known, gate, vars(gate), server.keys, vars(server.keys), server.rooms)))
    for hidden in (made.secret, pair.secret):
        assert hidden not in shown


def test_settings_do_not_show_theirs() -> None:
    settings = Settings(
        secret_key="hush-1",  # type: ignore[arg-type]
        s3_secret_key="hush-2",  # type: ignore[arg-type]
        webhook_secret="hush-3",  # type: ignore[arg-type]
        database_url="postgresql://user:hush-4@host/name",
    )
    assert "hush" not in f"{settings!r} {settings}"
