"""Accounts, keys, plans and usage on the command line, against a real data folder."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import insert

from diffuserve.auth import Gate, Sealer
from diffuserve.cli import main
from diffuserve.config import load
from diffuserve.core.account import Key, KeyLimits, KeyType, LedgerEntry
from diffuserve.core.errors import Unauthenticated
from diffuserve.datadir import DataDir, DataFolder
from diffuserve.store import open_store
from diffuserve.store.tables import ledger
from diffuserve.wiring import SystemClock

pytestmark = pytest.mark.integration

Run = Callable[..., str]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings of whoever runs the tests, and logging as it was before."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command on `tmp_path/data`; what it printed. Its exit code must be the expected one."""

    def command(*arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--data-dir", str(tmp_path / "data")])
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said
        return said.err if code else said.out

    return command


@pytest.fixture
def make(run: Run) -> Callable[..., dict[str, Any]]:
    def key(*flags: str, account: str = "acme") -> dict[str, Any]:
        made: dict[str, Any] = json.loads(run("keys", "create", "--account", account, *flags, "--json"))
        return made

    return key


def keys_in(data: Path) -> list[Key]:
    async def read() -> list[Key]:
        stores = await open_store(DataFolder(data).database_url)
        try:
            return list(await stores.accounts.keys())
        finally:
            await stores.close()

    return asyncio.run(read())


def opens(data: Path, token: str) -> bool:
    """Whether a server on this folder would let the token in."""

    async def ask() -> bool:
        folder = DataFolder(data)
        stores = await open_store(folder.database_url)
        try:
            gate = Gate(stores.accounts, Sealer(folder.secret), SystemClock(), may_be_open=True)
            await gate.by_token(token)
            return True
        except Unauthenticated:
            return False
        finally:
            await stores.close()

    return asyncio.run(ask())


# Keys


def test_a_bearer_key_comes_as_json_with_exactly_these_fields(make: Any, tmp_path: Path) -> None:
    made = make("--type", "bearer")
    assert set(made) == {"id", "account", "token"}
    assert made["account"] == "acme"
    assert opens(tmp_path / "data", made["token"])


def test_a_pair_comes_as_json_with_exactly_these_fields(make: Any, tmp_path: Path) -> None:
    made = make("--type", "pair")
    assert set(made) == {"id", "account", "access_key", "secret_key"}

    async def secret() -> str:
        folder = DataFolder(tmp_path / "data")
        stores = await open_store(folder.database_url)
        try:
            gate = Gate(stores.accounts, Sealer(folder.secret), SystemClock(), may_be_open=True)
            return (await gate.by_access_key(made["access_key"]))[1]
        finally:
            await stores.close()

    assert asyncio.run(secret()) == made["secret_key"]


def test_a_new_key_for_people_stands_on_lines_of_its_own(run: Run) -> None:
    printed = run("keys", "create", "--account", "acme")
    assert re.search(r"^id +key_[0-9a-f]{16}$", printed, re.MULTILINE)
    assert re.search(r"^token +dsk_[\w-]{43}$", printed, re.MULTILINE)


def test_all_settings_of_a_key_are_kept(make: Any, tmp_path: Path) -> None:
    flags = "--rps 2.5 --per-day 100 --concurrent 3 --priority 7 --scope dialect:native --scope admin"
    make(*flags.split())
    (key,) = keys_in(tmp_path / "data")
    assert (key.account, key.type, key.priority) == ("acme", KeyType.BEARER, 7)
    assert key.scopes == {"dialect:native", "admin"}
    assert key.limits == KeyLimits(2.5, 100, 3)


def test_a_list_shows_keys_without_their_secrets_and_revoked_ones_on_demand(run: Run, make: Any) -> None:
    one, two = make(), make("--type", "pair", account="other")
    run("keys", "revoke", one["id"])
    listed = run("keys", "list")
    assert one["id"] not in listed
    assert two["access_key"] in listed
    everything = run("keys", "list", "--all") + run("keys", "list", "--all", "--json")
    assert one["id"] in everything
    for secret in (one["token"], two["secret_key"]):
        assert secret not in everything
    assert [key["id"] for key in json.loads(run("keys", "list", "--account", "other", "--json"))] == [two["id"]]


def test_a_revoked_key_opens_nothing(run: Run, make: Any, tmp_path: Path) -> None:
    made = make()
    assert run("keys", "revoke", made["id"]) == f"revoked {made['id']}\n"
    assert not opens(tmp_path / "data", made["token"])
    assert "valid key" in run("keys", "revoke", made["id"], code=2)


def test_a_rotated_key_is_another_one_with_the_same_settings(run: Run, make: Any, tmp_path: Path) -> None:
    old = make("--per-day", "9")
    new = json.loads(run("keys", "rotate", old["id"], "--json"))
    assert set(new) == {"id", "account", "token"}
    assert (opens(tmp_path / "data", old["token"]), opens(tmp_path / "data", new["token"])) == (False, True)
    assert {key.limits.requests_per_day for key in keys_in(tmp_path / "data")} == {9}


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--scope", "dialect:plane"], "no such dialect: plane; there are native"),
        (["--scope", "root"], "scope must be dialect:NAME, model:NAME or admin"),
        (["--rps", "0"], "requests per second must be"),
        (["--priority", "1000"], "priority must be between -100 and 100"),
        (["--account", "a b"], "account must be"),
    ],
)
def test_a_wrong_flag_is_told_and_makes_no_key(run: Run, tmp_path: Path, flags: list[str], complaint: str) -> None:
    assert complaint in run("keys", "create", "--account", "acme", *flags, code=2)
    assert keys_in(tmp_path / "data") == []


def test_keys_are_made_while_a_server_holds_the_data_folder(make: Any, tmp_path: Path) -> None:
    held = DataDir(tmp_path / "data")
    try:
        assert opens(tmp_path / "data", make()["token"])
    finally:
        held.close()


def test_keys_sealed_with_a_chosen_secret_open_with_it(make: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("DIFFUSERVE_SECRET_KEY", "s" * 32)
    made = make("--type", "pair")

    async def secret() -> str:
        stores = await open_store(DataFolder(tmp_path / "data").database_url)
        try:
            gate = Gate(stores.accounts, Sealer(b"s" * 32), SystemClock(), may_be_open=True)
            return (await gate.by_access_key(made["access_key"]))[1]
        finally:
            await stores.close()

    assert asyncio.run(secret()) == made["secret_key"]


def test_a_secret_that_can_be_guessed_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFUSERVE_SECRET_KEY", "hunter2")
    said = run("keys", "list", code=2)
    assert "openssl rand -hex 32" in said
    assert "hunter2" not in said


# Accounts and plans


def test_an_account_is_made_once(run: Run, make: Any) -> None:
    assert run("accounts", "create", "acme") == "acme\n"
    first = json.loads(run("accounts", "create", "acme", "--json"))
    make(account="acme")
    make(account="other")
    listed = json.loads(run("accounts", "list", "--json"))
    assert [(one["id"], one["valid_keys"]) for one in listed] == [("acme", 1), ("other", 1)]
    assert listed[0]["created_at"] == first["created_at"]


def test_a_plan_is_listed_as_it_was_made(run: Run) -> None:
    flags = "--account acme --unit images --amount 100 --from 2026-01-01 --until 2099-02-01T12:30 --wallet 0xab"
    made = json.loads(run("plans", "create", *flags.split(), "--json"))
    run("plans", "create", "--account", "other", "--unit", "device_seconds", "--amount", "1.5", "--until", "30d")
    expected = {
        "account": "acme",
        "unit": "images",
        "amount": 100.0,
        "used": 0.0,
        "reserved": 0.0,
        "left": 100.0,
        "valid_from": "2026-01-01T00:00:00Z",
        "valid_until": "2099-02-01T12:30:00Z",
        "wallet": "0xab",
    }
    assert {**made, "id": None} == {**expected, "id": None}
    for flag in (["--account", "acme"], ["--wallet", "0xab"]):
        assert json.loads(run("plans", "list", *flag, "--json")) == [made]
    assert len(json.loads(run("plans", "list", "--json"))) == 2


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("--amount 0 --until 30d", "--amount must be over 0"),
        ("--amount nan --until 30d", "--amount must be over 0"),
        ("--amount 1 --until 2001-01-01", "--until must be later"),
        ("--amount 1 --from 60d --until 30d", "--until must be later"),
        ("--amount 1 --until soon", "--until must be a date"),
    ],
)
def test_a_plan_that_can_never_be_used_is_refused(run: Run, flags: str, complaint: str) -> None:
    command = ["plans", "create", "--account", "acme", "--unit", "images", *flags.split()]
    assert complaint in run(*command, code=2)
    assert json.loads(run("plans", "list", "--json")) == []


# Usage


def entry(job_id: int, account: str, finished_at: float) -> LedgerEntry:
    return LedgerEntry(
        job_id=job_id,
        account=account,
        key_id="key_1",
        dialect="plain",
        model="tiny, the small one",
        status="succeeded",
        created_at=finished_at - 2,
        finished_at=finished_at,
        images=2,
        steps=40,
        pixels=8192,
        device_seconds=0.25,
        plan_id=1,
        charged=2.0,
    )


@pytest.fixture
def entries(tmp_path: Path) -> list[LedgerEntry]:
    """Three jobs on the ledger; 2**62 is an id that JavaScript would round."""
    at = 1_767_225_600.0  # 2026-01-01
    made = [entry(2**62, "acme", at), entry(2**62 + 1, "other", at + 60), entry(2**62 + 2, "acme", at + 86_400)]

    async def write() -> None:
        stores = await open_store(DataFolder(tmp_path / "data").database_url)
        try:
            rows = [{name: getattr(one, name) for name in LedgerEntry.__slots__} for one in made]
            await stores.database.write(lambda connection: connection.execute(insert(ledger), rows) and None)
        finally:
            await stores.close()

    asyncio.run(write())
    return made


@pytest.mark.usefixtures("entries")
def test_usage_as_json_has_every_field_of_every_job(run: Run) -> None:
    first, *rest = json.loads(run("usage", "--format", "json"))
    assert first == {
        "job_id": "4611686018427387904",
        "account": "acme",
        "key_id": "key_1",
        "dialect": "plain",
        "model": "tiny, the small one",
        "status": "succeeded",
        "created_at": "2025-12-31T23:59:58Z",
        "finished_at": "2026-01-01T00:00:00Z",
        "images": 2,
        "steps": 40,
        "pixels": 8192,
        "device_seconds": 0.25,
        "plan_id": 1,
        "charged": 2.0,
    }
    assert len(rest) == 2


@pytest.mark.usefixtures("entries")
def test_usage_as_csv_says_the_same_as_json(run: Run) -> None:
    as_csv = list(csv.DictReader(io.StringIO(run("usage", "--format", "csv"))))
    as_json = json.loads(run("usage", "--format", "json"))
    assert as_csv == [{name: str(value) for name, value in one.items()} for one in as_json]


@pytest.mark.usefixtures("entries")
def test_usage_as_a_table_ends_with_the_sum(run: Run) -> None:
    printed = run("usage", "--account", "acme")
    assert printed.count("tiny, the small one") == 2
    assert printed.endswith("\n2 jobs, 4 pictures, 0.5 device seconds\n")


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize(
    ("flags", "count"),
    [
        ("", 3),
        ("--account acme", 2),
        ("--account nobody", 0),
        ("--since 2026-01-01T00:01", 2),
        ("--since 2026-01-01T08:01+08:00", 2),
        ("--until 2026-01-02", 2),
        ("--since 2026-01-01 --until 2026-01-01T00:01:00", 1),
        ("--since 1d --until now", 0),
    ],
)
def test_usage_is_chosen_by_account_and_by_the_time_of_ending(run: Run, flags: str, count: int) -> None:
    assert len(json.loads(run("usage", *flags.split(), "--format", "json"))) == count


def test_usage_without_any_job_is_empty_in_each_format(run: Run) -> None:
    assert run("usage", "--format", "json") == "[]\n"
    assert run("usage", "--format", "csv").startswith("job_id,account,")
    assert run("usage").endswith("\n0 jobs, 0 pictures, 0 device seconds\n")


def test_settings_of_the_environment_count_for_these_commands_too(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFUSERVE_DATABASE_URL", f"sqlite:///{tmp_path / 'elsewhere.sqlite3'}")
    run("accounts", "create", "acme")
    assert load().database_url is not None
    assert (tmp_path / "elsewhere.sqlite3").exists()
    assert not (tmp_path / "data" / "diffuserve.sqlite3").exists()
