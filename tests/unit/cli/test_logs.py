"""Log lines: readable, or JSON; with ids; without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from diffuserve import logs

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def json_lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_both_libraries_make_lines_of_json() -> None:
    stream = io.StringIO()
    logs.configure("info", json=True, stream=stream)
    structlog.get_logger("a").info("hello", answer=42)
    logging.getLogger("b").warning("%s times", 3)
    first, second = json_lines(stream)
    assert (first["event"], first["level"], first["answer"]) == ("hello", "info", 42)
    assert (second["event"], second["level"]) == ("3 times", "warning")


def test_lines_for_people_are_not_json() -> None:
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    structlog.get_logger().info("hello", answer=42)
    assert "hello" in stream.getvalue()
    assert "answer=42" in stream.getvalue()


def test_lines_below_the_level_are_dropped() -> None:
    stream = io.StringIO()
    logs.configure("warning", json=True, stream=stream)
    structlog.get_logger().info("quiet")
    logging.getLogger().info("quiet")
    logging.getLogger().error("loud")
    assert [line["event"] for line in json_lines(stream)] == ["loud"]


def test_bound_ids_stand_on_every_line_inside_and_on_none_after() -> None:
    stream = io.StringIO()
    logs.configure("info", json=True, stream=stream)
    with logs.bound(request_id="r1", job_id=7):
        logging.getLogger().info("inside")
        structlog.get_logger().info("inside too")
    structlog.get_logger().info("after")
    assert [line.get("job_id") for line in json_lines(stream)] == [7, 7, None]


async def test_lines_of_one_request_share_an_id_that_no_other_has() -> None:
    stream = io.StringIO()
    logs.configure("info", json=True, stream=stream)

    async def app(scope: object, receive: object, send: object) -> None:
        logging.getLogger().info("first")
        structlog.get_logger().info("second")

    for _ in range(2):
        await logs.RequestIds(app)({}, None, None)
    ids = [line["request_id"] for line in json_lines(stream)]
    assert ids[0] == ids[1] != ids[2] == ids[3]


def test_a_traceback_is_part_of_its_line() -> None:
    stream = io.StringIO()
    logs.configure("info", json=True, stream=stream)
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger().exception("it broke")
    (line,) = json_lines(stream)
    assert "ValueError: boom" in str(line["exception"])


@pytest.mark.parametrize(
    "name", ["authorization", "Cookie", "api_key", "secret", "signature", "access_token", "password", "key"]
)
def test_values_of_secret_names_are_hidden(name: str) -> None:
    assert logs.without_secrets(None, "info", {"event": "x", name: "hush"})[name] == "[hidden]"


@pytest.mark.parametrize(
    "text",
    [
        "GET /files/a?expires=1&signature=hush",
        "POST /x?key=hush&b=1",
        "headers: Bearer hush-hush-hush",
        "GET /oauth/2.0/token?client_id=x&client_secret=hush&access_token=hush",
        "authorization: bce-auth-v1/DSAK/2026-01-01T00:00:00Z/300/host;x-bce-date/hush",
        "postgresql://user:hush@host/db",
    ],
)
def test_secrets_within_texts_are_hidden(text: str) -> None:
    shown = logs.without_secrets(None, "info", {"event": text})["event"]
    assert "hush" not in shown
    assert "[hidden]" in shown


def test_access_tokens_are_hidden_wherever_they_stand() -> None:
    token = f"24.{'0123456789abcdef' * 2}.2592000.1800000000.1-389"
    shown = logs.without_secrets(None, "info", {"event": f"cannot use {token}, sorry"})["event"]
    assert shown == "cannot use 24.[hidden], sorry"


def test_names_that_only_resemble_secrets_stay() -> None:
    line = {"event": "x", "monkey": "chimp", "blob_keys": 3, "job_id": 1}
    assert logs.without_secrets(None, "info", dict(line)) == line


def test_long_texts_are_shortened_and_bytes_only_counted() -> None:
    line = logs.without_secrets(None, "info", {"event": "a" * 5000, "data": b"abc"})
    assert len(line["event"]) < logs.MAX_TEXT + 50
    assert line["data"] == "[3 bytes]"
