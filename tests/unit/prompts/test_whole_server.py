"""Prompt help through the whole server, with the fake engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from diffuserve.cli import checks
from diffuserve.cli.checks import Finding, Level
from diffuserve.config import Settings
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.principal import ANONYMOUS
from diffuserve.core.request import GenerationRequest
from diffuserve.prompts.chat import Chat
from diffuserve.prompts.help import PromptHelper
from diffuserve.wiring import build, catalog, prompt_help
from support.app import Server, serving

pytestmark = pytest.mark.unit

JOBS = "/diffuserve/v1/jobs?wait=60"


class Endpoint:
    """A chat endpoint that knows one word, and counts its questions."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.questions: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        system, user = json.loads(request.content)["messages"]
        self.questions.append(user["content"])
        answer = "a red apple" if "translate" in system["content"] else f"{user['content']} in the morning sun"
        return httpx2.Response(
            self.status, json={"choices": [{"message": {"content": answer}, "finish_reason": "stop"}]}
        )


def helped_by(endpoint: Endpoint) -> PromptHelper:
    chat = Chat("http://localhost/v1", "small", transport=httpx2.MockTransport(endpoint))
    return PromptHelper(chat, chat)


async def drawn(server: Server, **body: Any) -> dict[str, Any]:
    answer = await server.client.post(JOBS, json=body)
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    assert job["status"] == "succeeded"
    return job


async def stored(server: Server, job: dict[str, Any]) -> Any:
    return (await server.jobs.get(ANONYMOUS, int(job["id"]))).request


async def test_without_help_a_chinese_prompt_is_drawn_with_a_note(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        job = await drawn(server, prompt="红苹果", seed=7)
        assert job["notes"] == [
            "the prompt holds Chinese, which tiny does not read, and this server translates nothing"
        ]
        assert (await stored(server, job)).prompt == "红苹果"
        english = await drawn(server, prompt="a red apple", seed=7)
        assert english["notes"] == []


async def test_with_a_chat_endpoint_what_is_stored_and_drawn_is_the_translation(tmp_path: Path) -> None:
    endpoint = Endpoint()
    async with serving(tmp_path, prompts=helped_by(endpoint)) as server:
        first, second = [await drawn(server, prompt="(红苹果:1.2)", seed=7) for _ in range(2)]
        english = await drawn(server, prompt="(a red apple:1.2)", seed=7)
        request = await stored(server, first)
        pictures = [(await server.client.get(job["images"][0]["url"])).content for job in (first, second, english)]
    assert first["notes"] == ["the prompt was translated from Chinese"]
    assert (request.prompt, request.asked_prompt) == ("(a red apple:1.2)", "(红苹果:1.2)")
    assert pictures[0] == pictures[1] == pictures[2]
    assert endpoint.questions == ["红苹果"]


async def test_an_endpoint_that_is_down_fails_no_job(tmp_path: Path) -> None:
    async with serving(tmp_path, prompts=helped_by(Endpoint(status=503))) as server:
        job = await drawn(server, prompt="红苹果")
    assert job["notes"] == ["the prompt holds Chinese, which tiny does not read, and could not be translated"]


async def test_an_enhanced_prompt_is_stored_and_the_seed_stays(tmp_path: Path) -> None:
    async with serving(tmp_path, prompts=helped_by(Endpoint())) as server:
        request = GenerationRequest("a cat", enhance_prompt=True, seeds=(7,), num_images=2)
        job = await server.jobs.submit(ANONYMOUS, "native", request)
    assert (job.request.prompt, job.request.asked_prompt) == ("a cat in the morning sun", "a cat")
    assert (job.request.seeds[0], len(job.request.seeds)) == (7, 2)


async def test_nobody_is_asked_to_help_with_what_is_refused(tmp_path: Path) -> None:
    endpoint = Endpoint()
    async with serving(tmp_path, prompts=helped_by(endpoint)) as server:
        for body in ({"num_inference_steps": 0}, {"model": "nowhere"}):
            answer = await server.client.post(JOBS, json={"prompt": "红苹果", **body})
            assert answer.status_code == 400
    assert endpoint.questions == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"translation": "local"}, 'translation = "local" needs translation_model'),
        ({"enhancement": "local"}, 'enhancement = "local" needs enhancement_model'),
        ({"translation": "local", "translation_model": "/nowhere"}, "translation_model must be a folder"),
        ({"translation": "chat"}, "needs chat_base_url"),
        ({"enhancement": "chat", "chat_base_url": "http://localhost/v1"}, "needs chat_model"),
        ({"enhancement": "chat", "chat_base_url": "localhost:1", "chat_model": "m"}, "must begin with http"),
        ({"enhancement": "chat", "chat_base_url": "ftp://localhost", "chat_model": "m"}, "must begin with http"),
    ],
)
async def test_incomplete_settings_stop_the_server_at_start(
    settings: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    chosen = Settings(engine="fake", data_dir=tmp_path / "data", **settings)
    with pytest.raises(ConfigurationError, match=sentence):
        await build(chosen, catalog(chosen))
    assert not (tmp_path / "data").exists()


async def test_a_server_closes_its_helpers(tmp_path: Path) -> None:
    settings = Settings(
        engine="fake", data_dir=tmp_path, translation="chat", chat_base_url="http://127.0.0.1:9/v1", chat_model="m"
    )
    app = await build(settings)
    closed: list[bool] = []

    async def close() -> None:
        closed.append(True)

    app.prompts.close = close  # type: ignore[method-assign]
    await app.close()
    assert closed == [True]


def test_a_key_is_in_no_representation_of_the_settings() -> None:
    settings = Settings(translation="chat", chat_base_url="http://x/v1", chat_model="m", chat_api_key="sk-secret")
    assert "sk-secret" not in repr(settings)
    assert "sk-secret" not in repr(prompt_help(settings).__dict__)


def test_the_doctor_says_who_helps_and_what_is_missing() -> None:
    assert list(checks.prompts(Settings())) == []
    chat = Settings(
        translation="chat", chat_base_url="http://10.0.0.1/v1", chat_model="small", chat_api_key="sk-secret"
    )
    assert list(checks.prompts(chat)) == [Finding("translation", Level.OK, "small at http://10.0.0.1/v1")]
    (missing,) = checks.prompts(Settings(enhancement="local"))
    assert (missing.level, missing.found) == (
        Level.FAIL,
        'enhancement = "local" needs enhancement_model, the folder of a model',
    )
