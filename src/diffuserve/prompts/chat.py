"""Prompt help from a chat endpoint: anything that answers `POST {base_url}/chat/completions` as OpenAI's API does.

The address is the operator's own choice, so it may be private (a language model on the same machine), unlike those that
callers send. Proxies and credentials of the environment are not used, and redirects are not followed.
"""

from __future__ import annotations

import json
from typing import Any

import httpx2

from diffuserve.core.errors import ServerFailure
from diffuserve.prompts import language, words

MAX_ANSWER = 256 * 1024
"""Bytes that are read of an answer."""
MAX_TOKENS = 1024
"""That the endpoint may write, its thoughts included."""
_CONNECTIONS = 8


class Chat:
    """Implements `ports.Translator` and `ports.Enhancer`."""

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        *,
        timeout: float = 20.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """`base_url` ends where `/chat/completions` begins; `timeout` is in seconds between two bytes of an answer;
        `transport` replaces the network in tests."""
        headers = {"User-Agent": "diffuserve", "Accept": "application/json"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._model = model
        self._client = httpx2.AsyncClient(
            headers=headers,
            timeout=timeout,
            limits=httpx2.Limits(max_connections=_CONNECTIONS),
            trust_env=False,
            follow_redirects=False,
            transport=transport,
        )

    async def translate(self, text: str, source: str = "zh", target: str = "en") -> str:
        names = {"source": language.NAMES.get(source, source), "target": language.NAMES.get(target, target)}
        return await self._ask(words.TRANSLATE.format(**names), text)

    async def enhance(self, text: str) -> str:
        return await self._ask(words.ENHANCE, text)

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, instructions: str, text: str) -> str:
        question = {
            "model": self._model,
            "messages": [{"role": "system", "content": instructions}, {"role": "user", "content": text}],
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
            "stream": False,
        }
        try:
            async with self._client.stream("POST", self._url, json=question) as response:
                if response.status_code != 200:
                    raise ServerFailure(f"the chat endpoint answered {response.status_code}")
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER:
                        raise ServerFailure(f"the chat endpoint's answer is over {MAX_ANSWER} bytes")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            # The class only: its text may hold the address, and an address may hold a key.
            raise ServerFailure(f"the chat endpoint could not be asked: {type(error).__name__}") from None
        return _content(bytes(body))


def _content(body: bytes) -> str:
    """The text of the first choice. Raises ServerFailure for what is no answer, or was cut off."""
    try:
        choice: dict[str, Any] = json.loads(body)["choices"][0]
        content = choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        raise ServerFailure("the chat endpoint's answer has no text") from None
    if choice.get("finish_reason") == "length":
        raise ServerFailure(f"the chat endpoint's answer did not end within {MAX_TOKENS} tokens")
    if not isinstance(content, str):
        raise ServerFailure("the chat endpoint's answer has no text")
    return content
