"""Where each of the vendor's clients shows its key, replayed."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from diffuserve.core.account import KeyType
from support.app import Server

pytestmark = pytest.mark.unit

TEXT2IMG = "/api/v6/images/text2img"
BODY = {"prompt": "a cat", "width": 64, "height": 64}
JSON = {"content-type": "application/json"}


async def key(server: Server, account: str = "acme") -> str:
    return (await server.keys.create(account, KeyType.BEARER)).secret


@pytest.mark.parametrize(
    ("client", "headers", "body", "query"),
    [
        ("documents, Python, Go, PHP", {**JSON, "x-requested-with": "modelslab-py"}, {**BODY, "key": "KEY"}, {}),
        ("JavaScript, drawing", {**JSON, "authorization": "Bearer KEY"}, BODY, {}),
        ("JavaScript, fetching", {**JSON, "authorization": "Bearer KEY"}, {**BODY, "key": "KEY"}, {}),
        ("command line", {**JSON, "key": "KEY"}, {**BODY, "key": "KEY"}, {}),
        ("oldest Python", {"key": "KEY"}, None, {**BODY, "samples": "1"}),
        ("oldest Python, announcing JSON", {**JSON, "key": "KEY"}, None, BODY),
        ("an empty key beside a header", {**JSON, "authorization": "Bearer KEY"}, {**BODY, "key": ""}, {}),
        ("no key for a proxy's password", {**JSON, "authorization": "Basic eDp5"}, {**BODY, "key": "KEY"}, {}),
        ("a form", {"content-type": "application/x-www-form-urlencoded"}, "prompt=x&width=64&height=64&key=KEY", {}),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
async def test_every_client_is_let_in(
    server: Server, client: str, headers: dict[str, str], body: Any, query: dict[str, Any]
) -> None:
    secret = await key(server)
    content = body if isinstance(body, str) else json.dumps(body) if body is not None else ""
    answer = await server.client.post(
        TEXT2IMG,
        content=content.replace("KEY", secret),
        headers={name: value.replace("KEY", secret) for name, value in headers.items()},
        params=query,
    )
    assert (answer.status_code, answer.json()["status"]) == (200, "success"), answer.text
    assert secret not in answer.text


async def test_the_body_goes_before_the_query(server: Server) -> None:
    answer = await server.client.post(TEXT2IMG, json=BODY, params={"width": 128, "samples": 2})
    meta = answer.json()["meta"]
    assert (meta["W"], meta["n_samples"]) == (64, 2)


async def test_two_different_keys_are_none(server: Server) -> None:
    first, second = await key(server), await key(server)
    for headers in ({"key": second}, {"authorization": f"Bearer {second}"}):
        answer = await server.client.post(TEXT2IMG, json={**BODY, "key": first}, headers=headers)
        assert (answer.status_code, answer.json()["message"]) == (401, "Invalid API key")
        assert answer.json()["tip"] == "the request shows two different keys: send one"


async def told(server: Server, **more: Any) -> httpx2.Response:
    return await server.client.post(TEXT2IMG, json={**BODY, **more})


async def test_no_key_and_a_wrong_one_are_told_apart(server: Server) -> None:
    await key(server)
    none, wrong = await told(server), await told(server, key="wrong")
    assert (none.status_code, none.json()["message"]) == (401, "API key required")
    assert (wrong.status_code, wrong.json()["message"]) == (401, "Invalid API key")


async def test_anothers_request_is_not_found(server: Server) -> None:
    mine, theirs = await key(server), await key(server, "other")
    made = (await told(server, key=mine)).json()
    for secret, status in ((mine, 200), (theirs, 404)):
        answer = await server.client.post(f"/api/v1/enterprise/fetch/{made['id']}", json={"key": secret})
        assert answer.status_code == status
