"""The data folder: private, locked, and the same server after a restart."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diffuserve.core.errors import ConfigurationError
from diffuserve.datadir import DataDir, DataFolder

pytestmark = pytest.mark.unit


def test_the_folder_and_its_secret_are_for_their_owner_only(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "a" / "data")
    assert stat.S_IMODE(data.root.stat().st_mode) == 0o700
    assert stat.S_IMODE((data.root / "secret.key").stat().st_mode) == 0o600
    assert len(data.secret) == 32


def test_two_folders_have_two_secrets_and_two_owners(tmp_path: Path) -> None:
    one, other = DataDir(tmp_path / "1"), DataDir(tmp_path / "2")
    assert one.secret != other.secret
    assert one.owner != other.owner


def test_a_second_server_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    first = DataDir(tmp_path)
    with pytest.raises(ConfigurationError, match="another server uses"):
        DataDir(tmp_path)
    first.close()
    DataDir(tmp_path).close()


def test_secret_and_owner_stay_after_a_restart(tmp_path: Path) -> None:
    first = DataDir(tmp_path)
    first.close()
    second = DataDir(tmp_path)
    assert (second.secret, second.owner) == (first.secret, first.owner)


def test_the_owner_does_not_give_the_secret_away(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    assert data.owner not in data.secret.hex()


def test_commands_share_the_folder_and_its_secret_with_a_running_server(tmp_path: Path) -> None:
    server = DataDir(tmp_path)
    assert DataFolder(tmp_path).secret == server.secret


def test_a_command_that_comes_first_makes_the_secret_that_the_server_will_use(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    assert stat.S_IMODE((folder.root / "secret.key").stat().st_mode) == 0o600
    assert DataDir(tmp_path / "data").secret == folder.secret


def test_all_who_come_first_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as many:
        folders = list(many.map(lambda _: DataFolder(tmp_path), range(64)))
    assert len({folder.secret for folder in folders}) == 1
    assert folders[0].secret == (tmp_path / "secret.key").read_bytes()


def test_a_damaged_secret_is_told(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="is damaged"):
        DataDir(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="the data folder cannot be used"):
        DataDir(tmp_path / "file" / "data")


def test_everything_lies_within_the_folder(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    assert data.database_url == f"sqlite:///{tmp_path}/diffuserve.sqlite3"
    assert data.blobs == tmp_path / "blobs"
