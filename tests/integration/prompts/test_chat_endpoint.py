"""A chat endpoint on a private address, over a real socket."""

from __future__ import annotations

import json

import pytest

from diffuserve.config import Settings
from diffuserve.core.request import GenerationRequest
from diffuserve.wiring import prompt_help
from support.app import model
from support.receiver import Receiver, answer, receiving

pytestmark = pytest.mark.integration

SPOKEN = json.dumps({"choices": [{"message": {"content": "a red apple"}, "finish_reason": "stop"}]}).encode()
REQUEST = GenerationRequest("红苹果")
ENGLISH = model("tiny")


def settings(receiver: Receiver, seconds: float = 60.0) -> Settings:
    return Settings(
        translation="chat",
        chat_base_url=f"http://127.0.0.1:{receiver.port}/v1",
        chat_model="small",
        chat_api_key="sk-1",
        prompt_seconds=seconds,
    )


async def test_the_operators_own_address_is_called_past_every_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with receiving(always=answer(200, "Content-Type: application/json", body=SPOKEN)) as receiver:
        prompts = prompt_help(settings(receiver))
        prepared, _ = await prompts.prepare(REQUEST, ENGLISH)
        await prompts.close()
        call = await receiver.call()
    assert prepared.prompt == "a red apple"
    assert (call.method, call.path, call.headers["authorization"]) == ("POST", "/v1/chat/completions", "Bearer sk-1")
    assert call.json["messages"][1]["content"] == "红苹果"


async def test_an_endpoint_that_hangs_is_left_and_the_prompt_stays() -> None:
    async with receiving(always=None) as receiver:
        prompts = prompt_help(settings(receiver, seconds=0.2))
        prepared, notes = await prompts.prepare(REQUEST, ENGLISH)
        await prompts.close()
        await receiver.call()
    assert prepared is REQUEST
    assert notes == ("the prompt holds Chinese, which tiny does not read, and could not be translated",)
