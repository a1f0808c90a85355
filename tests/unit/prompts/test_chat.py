"""A chat endpoint that helps with prompts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from diffuserve.core.errors import ServerFailure
from diffuserve.prompts import chat

pytestmark = pytest.mark.unit

KEY = "sk-very-secret"


def saying(content: object, **choice: Any) -> httpx2.Response:
    return httpx2.Response(200, json={"choices": [{"message": {"role": "assistant", "content": content}, **choice}]})


def talking_to(answer: Callable[[httpx2.Request], httpx2.Response], **settings: Any) -> chat.Chat:
    values = {"base_url": "http://127.0.0.1:11434/v1/", "model": "small", "api_key": KEY, **settings}
    return chat.Chat(**values, transport=httpx2.MockTransport(answer))


async def test_a_translation_is_asked_for_as_openai_clients_ask() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return saying("a red apple")

    assert await talking_to(answer).translate("红苹果") == "a red apple"
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", "http://127.0.0.1:11434/v1/chat/completions")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    body = json.loads(request.content)
    system, user = body.pop("messages")
    assert body == {"model": "small", "temperature": 0, "max_tokens": chat.MAX_TOKENS, "stream": False}
    assert system["role"] == "system" and "from Chinese to English" in system["content"]
    assert user == {"role": "user", "content": "红苹果"}


async def test_an_enhancement_has_other_instructions() -> None:
    systems: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        systems.append(json.loads(request.content)["messages"][0]["content"])
        return saying("a shiny red apple")

    both = talking_to(answer)
    assert await both.enhance("an apple") == "a shiny red apple"
    await both.translate("яблоко", "ru")
    assert "improve prompts" in systems[0] and "from Russian to English" in systems[1]


async def test_an_endpoint_without_a_key_gets_none() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert "authorization" not in request.headers
        return saying("x")

    assert await talking_to(answer, api_key=None).enhance("y") == "x"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (httpx2.Response(500, json={"error": "no"}), "answered 500"),
        (httpx2.Response(401), "answered 401"),
        (httpx2.Response(302, headers={"location": "http://elsewhere.example/"}), "answered 302"),
        (httpx2.Response(200, content=b"<html>"), "has no text"),
        (httpx2.Response(200, json=[]), "has no text"),
        (httpx2.Response(200, json={"choices": []}), "has no text"),
        (httpx2.Response(200, json={"choices": ["x"]}), "has no text"),
        (saying(None), "has no text"),
        (saying([{"type": "text", "text": "x"}]), "has no text"),
        (saying("a red", finish_reason="length"), "did not end"),
        (httpx2.Response(200, content=b" " * (chat.MAX_ANSWER + 1)), "is over"),
    ],
)
async def test_what_is_no_answer_is_a_failure_with_a_reason(response: httpx2.Response, reason: str) -> None:
    with pytest.raises(ServerFailure, match=reason) as failed:
        await talking_to(lambda _: response).enhance("a cat")
    assert KEY not in str(failed.value)


@pytest.mark.parametrize("error", [httpx2.ConnectError, httpx2.ReadTimeout, httpx2.RemoteProtocolError])
async def test_an_endpoint_that_cannot_be_reached_is_a_failure_that_tells_no_address(error: type[Exception]) -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        raise error("http://user:password@10.0.0.1/ is down")

    with pytest.raises(ServerFailure, match=f"could not be asked: {error.__name__}$") as failed:
        await talking_to(answer).enhance("a cat")
    assert failed.value.__cause__ is None


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert await talking_to(lambda _: saying("x")).enhance("y") == "x"


async def test_a_closed_helper_can_be_closed_again() -> None:
    helper = talking_to(lambda _: saying("x"))
    await helper.close()
    await helper.close()
