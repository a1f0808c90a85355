"""`diffuserve webhooks` on the database of a server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from diffuserve.cli import main
from diffuserve.core.delivery import Callback
from diffuserve.datadir import DataDir
from diffuserve.store import open_store
from diffuserve.webhooks.sign import SigningSecrets, read_secret
from support.models import job as any_job

pytestmark = pytest.mark.integration

TARGET = "https://shop.example/done?token=hunter2"


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """The folder of a running server, with two notifications of which the first was given up."""
    folder = DataDir(tmp_path / "data")

    async def fill() -> None:
        stores = await open_store(folder.database_url)
        for job_id in (1, 2):
            await stores.jobs.add(any_job(job_id, callback=Callback(TARGET, "native", secret="hunter3")), now=1.8e9)
            await stores.jobs.cancel(job_id, 1.8e9)
        (first,) = await stores.deliveries.deliveries(job_id=1)
        await stores.deliveries.buried(first.id, "the receiver answered 410")
        await stores.close()

    asyncio.run(fill())
    return folder


def run(capsys: pytest.CaptureFixture[str], data: DataDir, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["webhooks", *arguments, "--data-dir", str(data.root)])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def listed(capsys: pytest.CaptureFixture[str], data: DataDir, *arguments: str) -> list[dict[str, Any]]:
    code, out, err = run(capsys, data, "list", "--json", *arguments)
    assert code == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_notifications_are_listed_with_what_went_wrong(capsys: pytest.CaptureFixture[str], data: DataDir) -> None:
    code, out, _ = run(capsys, data, "list")
    assert code == 0
    assert all(word in out for word in ("the receiver answered 410", "dead", "pending", "https://shop.example/done"))
    assert len(out.splitlines()) == 3


def test_secrets_in_addresses_and_callbacks_are_not_listed(capsys: pytest.CaptureFixture[str], data: DataDir) -> None:
    for arguments in (["list"], ["list", "--json"]):
        assert "hunter" not in run(capsys, data, *arguments)[1]


def test_the_list_is_narrowed_by_status_and_job(capsys: pytest.CaptureFixture[str], data: DataDir) -> None:
    assert [entry["job_id"] for entry in listed(capsys, data, "--status", "dead")] == ["1"]
    assert [entry["status"] for entry in listed(capsys, data, "--job", "2")] == ["pending"]


def test_one_is_replayed_by_its_id(capsys: pytest.CaptureFixture[str], data: DataDir) -> None:
    (dead,) = listed(capsys, data, "--status", "dead")
    assert run(capsys, data, "replay", dead["id"])[:2] == (0, "1 notification is due again\n")
    (again,) = listed(capsys, data, "--job", "1")
    assert (again["status"], again["attempts"], again["id"]) == ("pending", 0, dead["id"])


def test_all_that_were_given_up_are_replayed(capsys: pytest.CaptureFixture[str], data: DataDir) -> None:
    assert run(capsys, data, "replay", "--all")[:2] == (0, "1 notification is due again\n")
    assert run(capsys, data, "replay", "--all")[:2] == (0, "0 notifications are due again\n")


@pytest.mark.parametrize("arguments", [[], ["msg_1", "--all"], ["msg_unknown"]])
def test_a_replay_of_nothing_is_refused(
    capsys: pytest.CaptureFixture[str], data: DataDir, arguments: list[str]
) -> None:
    code, out, err = run(capsys, data, "replay", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("diffuserve: ")


def test_the_secret_of_an_account_is_printed(capsys: pytest.CaptureFixture[str], data: DataDir) -> None:
    code, out, _ = run(capsys, data, "secret", "--account", "acme")
    assert (code, read_secret(out.strip())) == (0, SigningSecrets(data.secret).of("acme"))
