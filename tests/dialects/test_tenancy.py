"""The law: without a key nobody comes in, and with one nobody sees or touches what is another account's."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from fastapi.routing import APIRoute

from diffuserve.core.account import KeyType
from diffuserve.core.job import Job, JobStatus
from diffuserve.core.principal import Principal
from diffuserve.core.request import GenerationRequest
from support.app import Server, serving

pytestmark = pytest.mark.unit

PARAMETERS = {"family": "images", "job_id": "{job}", "url_path": "tiny", "endpoint": "tiny"}
"""What to put into each parameter of any dialect's paths; `{job}` is the victim's job. A new dialect adds its own."""

TURNED_AWAY: dict[str, Callable[[httpx2.Response], bool]] = {
    "ipollo": lambda answer: answer.status_code == 401 or answer.json()["result_code"] == 201,
    "qianfan": lambda answer: answer.status_code == 401 or answer.json().get("error_code") == 110,
}
"""How a dialect that does not answer 401 says that a key is needed. A new dialect adds its own."""

SECRET_WORDS = "the victim's unseen picture"


@dataclass(frozen=True)
class Route:
    """One endpoint of one dialect at one of its mounts."""

    dialect: str
    method: str
    path: str

    def names_a_job(self) -> bool:
        return "{job}" in self.path


@dataclass(frozen=True)
class Scene:
    """A closed server with two accounts; the victim has a job."""

    server: Server
    victim: Principal
    victims_token: str
    strangers_token: str
    job: Job

    async def call(self, route: Route, token: str | None) -> httpx2.Response:
        headers = {"content-type": "application/json"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        path = route.path.replace("{job}", str(self.job.id))
        content = b'{"prompt": "a cat"}' if route.method in ("POST", "PUT", "PATCH") else b""
        return await self.server.client.request(route.method, path, content=content, headers=headers)

    async def now(self) -> Job:
        return await self.server.jobs.get(self.victim, self.job.id)


def routes(server: Server) -> Iterator[Route]:
    for dialect in server.dialects:
        for route in dialect.build(server.rooms).routes:
            assert isinstance(route, APIRoute), f"{dialect.name}: {route} does not go through the endpoint wrapper"
            path = re.sub(r"\{(\w+)[^}]*\}", lambda name: PARAMETERS[name[1]], route.path)
            for method in sorted(route.methods):
                for mount in dialect.mounts:
                    yield Route(dialect.name, method, mount + path)


async def scene(server: Server) -> Scene:
    victims = await server.keys.create("victim", KeyType.BEARER)
    strangers = await server.keys.create("stranger", KeyType.BEARER)
    victim = Principal("victim", victims.key.id)
    job = await server.jobs.submit(victim, "native", GenerationRequest(prompt=SECRET_WORDS))
    return Scene(server, victim, victims.secret, strangers.secret, job)


@pytest.fixture
async def waiting(tmp_path: Path) -> AsyncIterator[Scene]:
    """The victim's job is not drawn yet."""
    async with serving(tmp_path, start=False) as server:
        yield await scene(server)


@pytest.fixture
async def drawn(server: Server) -> Scene:
    """The victim's job is done."""
    here = await scene(server)
    await server.jobs.wait(here.job.id)
    return here


async def test_every_route_of_every_dialect_asks_for_a_key(waiting: Scene) -> None:
    for route in routes(waiting.server):
        for token in (None, "dsk_" + "0" * 43):
            answer = await waiting.call(route, token)
            turned_away = TURNED_AWAY.get(route.dialect, lambda answer: answer.status_code == 401)
            assert turned_away(answer), route
            assert SECRET_WORDS not in answer.text, route
    assert (await waiting.now()).status is JobStatus.QUEUED


async def test_a_strangers_key_finds_no_waiting_job_at_any_route(waiting: Scene) -> None:
    named = [route for route in routes(waiting.server) if route.names_a_job()]
    assert named
    for route in named:
        answer = await waiting.call(route, waiting.strangers_token)
        assert answer.status_code == 404, route
        assert SECRET_WORDS not in answer.text, route
    assert (await waiting.now()).status is JobStatus.QUEUED


async def test_a_strangers_answers_show_nothing_of_a_finished_job(drawn: Scene) -> None:
    (artifact,) = (await drawn.now()).artifacts
    for route in routes(drawn.server):
        answer = await drawn.call(route, drawn.strangers_token)
        for part in (SECRET_WORDS, artifact.id, artifact.digest, artifact.blob_key):
            assert part not in answer.text, route
        if route.names_a_job():
            assert answer.status_code == 404, route


async def test_another_accounts_job_is_answered_like_one_that_never_was(drawn: Scene) -> None:
    for route in routes(drawn.server):
        if route.names_a_job():
            existing = await drawn.call(route, drawn.strangers_token)
            invented = await drawn.server.client.request(
                route.method,
                route.path.replace("{job}", "4242424242"),
                headers={"authorization": f"Bearer {drawn.strangers_token}"},
            )
            assert existing.status_code == invented.status_code, route
            assert existing.text.replace(str(drawn.job.id), "4242424242") == invented.text, route


async def test_the_owner_sees_the_job_where_a_stranger_does_not(drawn: Scene) -> None:
    for route in routes(drawn.server):
        if route.names_a_job():
            answer = await drawn.call(route, drawn.victims_token)
            assert answer.status_code == 200, route
            assert SECRET_WORDS in answer.text, route


async def test_another_key_of_the_same_account_sees_its_jobs(drawn: Scene) -> None:
    second = await drawn.server.keys.create("victim", KeyType.BEARER)
    for route in routes(drawn.server):
        if route.names_a_job():
            assert (await drawn.call(route, second.secret)).status_code == 200, route


async def test_an_idempotency_key_of_another_account_answers_nothing_of_it(waiting: Scene) -> None:
    async def submit(token: str) -> str:
        headers = {"authorization": f"Bearer {token}", "idempotency-key": "order-1"}
        answer = await waiting.server.client.post("/diffuserve/v1/jobs", json={"prompt": "a cat"}, headers=headers)
        assert answer.status_code == 202
        return str(answer.json()["id"])

    first = await submit(waiting.victims_token)
    assert await submit(waiting.victims_token) == first
    assert await submit(waiting.strangers_token) != first


async def test_no_link_to_anothers_picture_can_be_made_from_ones_own(drawn: Scene) -> None:
    client = drawn.server.client
    headers = {"authorization": f"Bearer {drawn.strangers_token}"}
    answer = await client.post("/txt2img", data={"prompt": "x", "width": "64", "height": "64"}, headers=headers)
    own = answer.json()["images"][0]["image_url"]
    assert (await client.get(own)).status_code == 200
    (artifact,) = (await drawn.now()).artifacts
    forged = re.sub(r"/files/[0-9a-f]{32}", f"/files/{artifact.id}", own)
    for url in (forged, forged.partition("?")[0]):
        assert (await client.get(url, headers=headers)).status_code == 404
