"""A closed server in this process, called as the Qianfan dialect's clients do."""

from __future__ import annotations

from typing import Any

import httpx2

from diffuserve.core.account import NewKey
from support.app import Server
from support.bce import authorization

PREFIX = "/rpc/2.0/ai_custom/v1/wenxinworkshop"
SDXL = f"{PREFIX}/text2image/sd_xl"
TOKEN = "/oauth/2.0/token"
MODELS = "/wenxinworkshop/service/list"
BODY = {"prompt": "红苹果", "size": "768x768"}


class Closed:
    """A server with one pair, on a clock that stands still."""

    def __init__(self, server: Server, pair: NewKey) -> None:
        self.server, self.pair, self.client = server, pair, server.client

    @property
    def credentials(self) -> dict[str, str]:
        access_key = self.pair.key.access_key or ""
        return {"grant_type": "client_credentials", "client_id": access_key, "client_secret": self.pair.secret}

    async def token(self) -> str:
        answer = await self.client.post(TOKEN, params=self.credentials)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def draw(self, token: str | None = None, **headers: str) -> Any:
        params = {} if token is None else {"access_token": token}
        answer = await self.client.post(SDXL, json=BODY, params=params, headers=headers)
        assert answer.status_code == 200
        return answer.json()

    async def code(self, token: str | None = None, **headers: str) -> int | None:
        """None is success."""
        code: int | None = (await self.draw(token, **headers)).get("error_code")
        return code

    def signature(self, path: str = SDXL, **changed: Any) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "host": "localhost:8000",
            "request_id": "sdk-py-1",
            "x-bce-date": "2023-11-14T22:13:20Z",
        }
        sent = {**headers, **changed.pop("sent", {})}
        signed = authorization(
            changed.pop("pair", self.pair), "POST", path, headers, now=self.server.clock.now(), **changed
        )
        return {**sent, "authorization": signed}

    async def list_models(self, body: Any = None, path: str = MODELS, **headers: str) -> httpx2.Response:
        return await self.client.post(path, json={} if body is None else body, headers=headers)
