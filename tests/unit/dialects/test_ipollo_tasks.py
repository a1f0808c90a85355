"""iPollo's tasks: what is submitted, what any GET path says of it in every state, and who may ask."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import support.app
from diffuserve.config import Settings
from diffuserve.core.account import KeyType
from diffuserve.core.errors import JobNotFound
from diffuserve.core.job import Job, JobStatus
from diffuserve.core.principal import ANONYMOUS, Principal
from diffuserve.core.request import GenerationRequest
from diffuserve.dialects import dialects, ipollo
from diffuserve.dialects.base import Dialect, Rooms
from diffuserve.dialects.ipollo import tasks
from diffuserve.dialects.ipollo.operations import Kind
from diffuserve.dialects.ipollo.parse import Assignment
from diffuserve.dialects.ipollo.wallets import Payer
from support.app import Server, serving
from support.ipollo import (
    ACTING,
    ACTING_BODY,
    ACTING_FILLED,
    ADDRESS,
    DUBBING,
    QUERIES,
    SPEAKING,
    SPEAKING_BODY,
    STATE,
    TALKING,
    TXT2IMG,
    body,
    bought,
)

pytestmark = pytest.mark.unit

FACE, ROLE, VOICE = "https://example.com/a.jpg", "https://example.com/b.mp4", "https://example.com/c.wav"
SUBMITTED = ("task_id", "result_code", "msg")
GOOD: Mapping[str, dict[str, str]] = {
    ACTING: {"image_url": FACE, "video_url": ROLE},
    DUBBING: {"audio_url": VOICE, "video_url": ROLE},
    SPEAKING: {"video_url": ROLE, "text": "大家好"},
    TALKING: {"image_url": FACE, "text": "hello", "pronouncer": "zh-CN-XiaoxiaoNeural"},
    "/videotalking": {"audio_url": VOICE, "video_url": ROLE},
    "/phototalking": {"image_url": FACE, "text": "hello"},
}


class PictureWorker:
    """Stands in for a worker for videos: draws a picture for each task."""

    def __init__(self) -> None:
        self.seen: list[Assignment] = []

    async def submit(self, rooms: Rooms, payer: Payer, assignment: Assignment, memo: str) -> Job:
        self.seen.append(assignment)
        wish = GenerationRequest(prompt=assignment.words.get("text", "x"), width=64, height=64)
        return await rooms.jobs.submit(payer.principal, "ipollo", wish, memo=memo, wallet=payer.wallet)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> PictureWorker:
    """A worker for every kind, in servers that are started after this."""
    worker = PictureWorker()

    def spoken(settings: Settings) -> tuple[Dialect, ...]:
        manners = ipollo.Manners.of(settings)
        ours = ipollo.dialect(manners, dict.fromkeys(Kind, worker))
        return tuple(ours if dialect.name == "ipollo" else dialect for dialect in dialects(settings))

    monkeypatch.setattr(support.app, "dialects", spoken)
    return worker


async def submit(server: Server, path: str, token: str | None = None, **fields: Any) -> dict[str, Any]:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    sent = {**GOOD[path], "btc_address": ADDRESS, **fields}
    answer = await server.client.post(path, json={k: v for k, v in sent.items() if v is not None}, headers=headers)
    said: dict[str, Any] = answer.json()
    assert (answer.status_code, tuple(said)) == (200, SUBMITTED), answer.text
    return said


async def query(server: Server, asked: str, path: str = DUBBING, token: str | None = None) -> dict[str, Any]:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    answer = await server.client.get(path, params={"taskID": asked}, headers=headers)
    said: dict[str, Any] = answer.json()
    assert (answer.status_code, tuple(said)) == (200, STATE), answer.text
    return said


async def refused(server: Server, path: str, **fields: Any) -> tuple[int, str]:
    said = await submit(server, path, **fields)
    assert said["task_id"] == ""
    return said["result_code"], said["msg"]


# Without a worker


@pytest.mark.parametrize("path", GOOD)
async def test_work_that_nobody_can_do_is_203_and_no_task(server: Server, path: str) -> None:
    plan = await bought(server.accounts, 60)
    code, message = await refused(server, path)
    assert code == 203
    assert message.startswith("this server has no worker for ")
    assert message.endswith("so nothing was queued and nothing is charged")
    assert [entry async for entry in server.accounts.usage(None, 0, 2**33)] == []
    assert await server.accounts.plans() == [plan]


async def test_the_vendors_own_bodies_are_understood(server: Server) -> None:
    headers = {"content-type": "application/json"}
    for path, content, code, words in (
        (SPEAKING, SPEAKING_BODY, 203, "no worker for faces that speak a text in a video"),
        (ACTING, ACTING_FILLED, 203, "no worker for photos that act"),
        # To the letter, that sample says what the fields hold, and holds no links.
        (ACTING, ACTING_BODY, 202, "image_url must be an http or https link"),
    ):
        said = (await server.client.post(path, content=content, headers=headers)).json()
        assert (said["task_id"], said["result_code"], words in said["msg"]) == ("", code, True)


@pytest.mark.parametrize("path", GOOD)
async def test_a_missing_link_is_202_and_any_other_missing_field_200(server: Server, path: str) -> None:
    for name in GOOD[path]:
        if name == "pronouncer":
            assert (await refused(server, path, pronouncer=None))[0] == 203
        elif name.endswith("_url"):
            assert await refused(server, path, **{name: None}) == (202, f"{name} is required")
        else:
            assert await refused(server, path, **{name: " "}) == (200, f"parameter error: {name} is required")
    assert await refused(server, path, btc_address="") == (200, "parameter error: btc_address is required")


@pytest.mark.parametrize(
    "link", ["/etc/passwd", "file:///etc/passwd", "ftp://a/b", "C:\\a.mp4", "https://" + "a" * 5000]
)
async def test_what_is_no_link_is_202(server: Server, link: str) -> None:
    assert await refused(server, ACTING, video_url=link) == (202, "video_url must be an http or https link")


@pytest.mark.parametrize("face", ["data:image/png;base64,iVBORw0KGgo=", "iVBORw0KGgo" * 20])
async def test_a_face_may_be_sent_as_base64(server: Server, face: str) -> None:
    assert (await refused(server, ACTING, image_url=face))[0] == 203


async def test_phototalking_takes_150_words(server: Server) -> None:
    assert (await refused(server, "/phototalking", text="word " * 150))[0] == 203
    code, message = await refused(server, "/phototalking", text="word " * 151)
    assert (code, message) == (200, "parameter error: text must be at most 150 words long")


@pytest.mark.parametrize("kind", ["data", "files"])
async def test_forms_are_understood(server: Server, kind: str) -> None:
    fields = {**GOOD["/videotalking"], "key": "ts-be5f"}
    sent = {name: (None, value) for name, value in fields.items()} if kind == "files" else fields
    said = (await server.client.post("/videotalking", **{kind: sent})).json()
    assert (tuple(said), said["result_code"]) == (SUBMITTED, 203)


async def test_a_body_that_does_not_parse_is_200_with_all_three_keys(server: Server) -> None:
    answer = await server.client.post(ACTING, content=b"{", headers={"content-type": "application/json"})
    said = answer.json()
    assert (answer.status_code, tuple(said), said["task_id"], said["result_code"]) == (200, SUBMITTED, "", 200)


async def test_a_bug_is_203_with_http_200(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("/secret/path")

    monkeypatch.setattr(server.jobs, "plans", broken)
    code, message = await refused(server, ACTING)
    assert (code, "secret" in message) == (203, False)


# With one


@pytest.mark.parametrize("path", GOOD)
async def test_a_task_goes_to_the_worker_of_its_kind(worker: PictureWorker, tmp_path: Path, path: str) -> None:
    async with serving(tmp_path) as server:
        said = await submit(server, path)
        assert said["result_code"] == 100
        assert said["msg"] == "SUCCESS! The video is currently in the queue waiting to be processed."
        assert re.fullmatch(r"20[0-9]{6}_[0-9]{2}_[0-9]{2}_[0-9]{2}_[0-9]+", said["task_id"])
        (assignment,) = worker.seen
        assert {**assignment.sources, **assignment.words} == GOOD[path]
        await server.jobs.wait((await tasks.find(server.rooms, said["task_id"])).id)
        assert (await query(server, said["task_id"]))["result_code"] == 100


async def test_a_tasks_plan_is_charged_and_its_rest_is_told(worker: PictureWorker, tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await bought(server.accounts, 10)
        asked = (await submit(server, ACTING))["task_id"]
        await server.jobs.wait((await tasks.find(server.rooms, asked)).id)
        assert (await query(server, asked))["api_time_left"] == 9
        (plan,) = await server.accounts.plans()
        assert (plan.used, plan.reserved) == (1, 0)


async def test_an_expired_plan_is_201_with_http_200(worker: PictureWorker, tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await bought(server.accounts, 10, days=-0.5)
        code, message = await refused(server, ACTING)
        assert (code, message.startswith("the plan of this address ended at ")) == (201, True)


# Queries


async def picture(server: Server, **fields: Any) -> tuple[str, Job]:
    """The task of a picture that was asked for, and its job."""
    wish = GenerationRequest(prompt=fields.pop("prompt", "x"), width=64, height=64)
    job = await server.jobs.submit(fields.pop("who", ANONYMOUS), "ipollo", wish, memo=tasks.new_memo(), **fields)
    return tasks.task_id(job), job


@pytest.mark.parametrize("path", QUERIES)
async def test_every_get_path_finds_a_task_in_every_state(tmp_path: Path, path: str) -> None:
    failed = 104 if path == TALKING else 103
    async with serving(tmp_path, start=False) as server:
        asked, job = await picture(server)
        said = await query(server, asked, path)
        assert (said["result_code"], said["msg"], said["result_url"]) == (101, f"task({asked}) is waiting.", "")
        await server.jobs.cancel(ANONYMOUS, job.id)
        said = await query(server, asked, path)
        assert (said["result_code"], said["msg"]) == (failed, f"task({asked}) has failed. it was canceled")


@pytest.mark.parametrize("path", QUERIES)
async def test_every_get_path_knows_success_failure_and_running(server: Server, path: str) -> None:
    asked, job = await picture(server)
    await server.jobs.wait(job.id)
    said = await query(server, asked, path)
    assert (said["result_code"], said["video_w"], said["video_h"], said["gpu_type"]) == (100, 64, 64, "fake")
    link = said["result_url"]
    assert said["msg"] == f"taskID:{asked} has been completed, and the output video url is: {link}"
    assert (await server.client.get(link)).status_code == 200
    asked, job = await picture(server, prompt="fail:oom")
    await server.jobs.wait(job.id)
    said = await query(server, asked, path)
    assert said["result_code"] == (104 if path == TALKING else 103)
    assert said["msg"].startswith(f"task({asked}) has failed. the device has not enough memory")
    asked, job = await picture(server, prompt="fail:hang")
    async for _ in server.jobs.watch(ANONYMOUS, job.id):
        break
    assert (await query(server, asked, path))["result_code"] == 102
    await server.jobs.cancel(ANONYMOUS, job.id)


async def test_104_everywhere_is_the_operators_choice(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False, ipollo_always_104=True) as server:
        asked, job = await picture(server)
        await server.jobs.cancel(ANONYMOUS, job.id)
        assert [(await query(server, asked, path))["result_code"] for path in QUERIES] == [104] * len(QUERIES)


async def test_a_picture_can_be_asked_for_as_a_task(server: Server) -> None:
    answer = await server.client.post(TXT2IMG, json=body())
    said = await query(server, answer.headers["diffuserve-task"])
    assert (said["result_code"], said["video_w"]) == (100, 64)
    assert said["result_url"].partition("?")[0] == answer.json()["image_base"]["imageUrl"].partition("?")[0]


@pytest.mark.parametrize("name", ["taskID", "task_id", "taskId"])
async def test_the_id_is_spelt_in_three_ways(server: Server, name: str) -> None:
    asked, job = await picture(server)
    await server.jobs.wait(job.id)
    assert (await server.client.get(ACTING, params={name: asked})).json()["result_code"] == 100


@pytest.mark.parametrize(
    "asked", ["20230423_11_23_05_10279", "x", "../../etc", "1" * 500, "20230423_11_23_05_" + "9" * 40]
)
async def test_an_unknown_task_is_200_with_all_keys(server: Server, asked: str) -> None:
    said = await query(server, asked)
    assert (said["result_code"], said["msg"]) == (200, f"cannot find task_id={asked[:100]}")
    nothing = {name: value for name, value in said.items() if name not in ("result_code", "msg")}
    assert set(nothing.values()) <= {"", 0}


async def test_a_query_without_an_id_is_200(server: Server) -> None:
    for params in ({}, {"taskID": ""}):
        said = (await server.client.get(DUBBING, params=params)).json()
        assert (tuple(said), said["result_code"]) == (STATE, 200)
        assert said["msg"] == "parameter error: taskID is required"


# Who may ask


async def test_every_digit_of_an_id_counts(server: Server) -> None:
    asked, job = await picture(server)
    await server.jobs.wait(job.id)
    for place, digit in enumerate(asked):
        if digit.isdecimal():
            other = asked[:place] + str((int(digit) + 1) % 10) + asked[place + 1 :]
            assert (await query(server, other))["result_code"] == 200
    for part in (str(job.id), asked[:-1], asked + "0"):
        assert (await query(server, part))["result_code"] == 200


async def test_jobs_of_other_apis_are_no_tasks(server: Server) -> None:
    job = await server.jobs.submit(ANONYMOUS, "native", GenerationRequest(prompt="x"), memo=tasks.new_memo())
    assert (await query(server, tasks.task_id(job)))["result_code"] == 200
    bare = await server.jobs.submit(ANONYMOUS, "ipollo", GenerationRequest(prompt="x"))
    with pytest.raises(JobNotFound):
        await tasks.find(server.rooms, f"20230423_11_23_05_{bare.id}{'0' * 24}")


async def test_an_id_is_enough_to_ask_for_its_task_on_a_closed_server(server: Server) -> None:
    made = await server.keys.create("shop", KeyType.BEARER)
    asked, job = await picture(server, who=Principal("shop", made.key.id))
    await server.jobs.wait(job.id)
    assert (await query(server, asked))["result_code"] == 100
    assert (await query(server, asked, token=made.secret))["result_code"] == 100


async def test_a_strangers_key_finds_nothing_even_with_the_id(server: Server) -> None:
    made = await server.keys.create("shop", KeyType.BEARER)
    stranger = await server.keys.create("stranger", KeyType.BEARER)
    asked, job = await picture(server, who=Principal("shop", made.key.id))
    await server.jobs.wait(job.id)
    said = await query(server, asked, token=stranger.secret)
    assert said == await query(server, asked[:-1], token=stranger.secret) | {"msg": f"cannot find task_id={asked}"}


async def test_without_key_and_id_a_closed_server_says_201(server: Server) -> None:
    await server.keys.create("shop", KeyType.BEARER)
    said = (await server.client.get(DUBBING)).json()
    assert (tuple(said), said["result_code"], "a key is required" in said["msg"]) == (STATE, 201, True)
    # The public client polls until it sees 100, 104 or 200: what is not there must end it.
    assert (await query(server, "20230423_11_23_05_10279"))["result_code"] == 200
    code, message = await refused(server, ACTING)
    assert (code, message.startswith("a key is required")) == (201, True)


async def test_an_id_opens_nothing_but_its_task(server: Server) -> None:
    made = await server.keys.create("shop", KeyType.BEARER)
    asked, _ = await picture(server, who=Principal("shop", made.key.id))
    answer = await server.client.post(TXT2IMG, params={"taskID": asked}, json=body(taskID=asked))
    assert answer.status_code == 401
    answer = await server.client.post(ACTING, params={"taskID": asked}, json={**GOOD[ACTING], "taskID": asked})
    assert answer.json()["result_code"] == 201


async def test_a_wallets_task_is_found_on_an_open_server(server: Server) -> None:
    await bought(server.accounts, 60)
    answer = await server.client.post(TXT2IMG, json=body())
    said = await query(server, answer.headers["diffuserve-task"])
    assert (said["result_code"], said["api_time_left"], said["gpu_time_estimate"] >= 1) == (100, 59, True)
    job = await tasks.find(server.rooms, answer.headers["diffuserve-task"])
    assert (job.account, job.status) == ("shop", JobStatus.SUCCEEDED)
    assert set(json.loads(job.memo)) == {"tail"}
