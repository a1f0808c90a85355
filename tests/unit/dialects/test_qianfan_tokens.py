"""The token endpoint of the Qianfan dialect, and what its tokens open."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from diffuserve.auth.access_tokens import LIFETIME, AccessTokens
from diffuserve.auth.gate import FRESH_SECONDS
from diffuserve.core.account import KeyLimits, KeyType
from support.app import HeldClock, serving
from support.qianfan import TOKEN, Closed

pytestmark = pytest.mark.unit

FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def closed(tmp_path: Path) -> AsyncIterator[Closed]:
    async with serving(tmp_path, clock=HeldClock()) as server:
        yield Closed(server, await server.keys.create("acme", KeyType.PAIR))


# The token endpoint


async def test_a_token_has_the_vendors_shape(closed: Closed) -> None:
    answer = await closed.client.post(TOKEN, params=closed.credentials)
    body = answer.json()
    assert set(body) == {"refresh_token", "expires_in", "session_key", "access_token", "scope", "session_secret"}
    assert (body["expires_in"], type(body["expires_in"])) == (2592000, int)
    assert re.fullmatch(r"24\.[0-9a-f]{32}\.2592000\.[0-9]+\.[0-9]+-[0-9]+", body["access_token"])
    assert answer.headers["cache-control"] == "no-store"
    assert closed.pair.secret not in answer.text


async def test_it_is_given_in_every_form_that_clients_ask_in(closed: Closed) -> None:
    params, client = closed.credentials, closed.client
    json_type = {"content-type": "application/json"}
    multipart = {name: (None, value) for name, value in params.items()}
    for answer in (
        await client.post(TOKEN, params=params, json={}),
        await client.post(TOKEN, params=params, json=""),
        await client.post(TOKEN, params=params, content=b"", headers=json_type),
        await client.post(TOKEN, params=params, content=b"{not json", headers=json_type),
        await client.get(TOKEN, params=params),
        await client.post(TOKEN, data=params),
        await client.post(TOKEN, files=multipart),
        await client.post(TOKEN, params={**params, "scope": "x", "redirect_uri": "y"}),
        await client.post(f"/qianfan{TOKEN}", params=params),
    ):
        assert answer.status_code == 200, answer.text
        assert await closed.code(answer.json()["access_token"]) is None


@pytest.mark.parametrize(
    ("change", "error", "description"),
    [
        ({"client_id": "DSAK" + "A" * 16}, "invalid_client", "unknown client id"),
        ({"client_id": "钥匙"}, "invalid_client", "unknown client id"),
        ({"client_id": ""}, "invalid_client", "unknown client id"),
        ({"client_secret": "x"}, "invalid_client", "Client authentication failed"),
        ({"client_secret": "密"}, "invalid_client", "Client authentication failed"),
        ({"client_secret": ""}, "invalid_client", "Client authentication failed"),
        ({"grant_type": "password"}, "unsupported_grant_type", "grant_type must be client_credentials, got password"),
        ({"grant_type": ""}, "unsupported_grant_type", "grant_type must be client_credentials"),
    ],
)
async def test_a_refusal_has_the_words_that_clients_look_for(
    closed: Closed, change: dict[str, str], error: str, description: str
) -> None:
    params = {**closed.credentials, **change}
    for answer in (
        await closed.client.post(TOKEN, params=params),
        await closed.client.get(TOKEN, params=params),
        await closed.client.post(TOKEN, data=params),
    ):
        assert answer.status_code == 401
        assert answer.json() == {"error": error, "error_description": description}


async def test_absent_parameters_are_refused_and_not_a_bug(closed: Closed) -> None:
    for content in (b"", b"%", b"a" * 10):
        assert (await closed.client.post(TOKEN, content=content, headers=FORM)).status_code == 401
    assert (await closed.client.post(TOKEN)).json()["error_description"] == "unknown client id"


async def test_other_failures_have_oauths_words_too(closed: Closed) -> None:
    scoped = await closed.server.keys.create("acme", KeyType.PAIR, scopes=frozenset({"dialect:plain"}))
    slow = await closed.server.keys.create("acme", KeyType.PAIR, limits=KeyLimits(requests_per_day=1))
    assert (await closed.client.put(TOKEN)).status_code == 405
    forbidden = await closed.client.post(TOKEN, params=Closed(closed.server, scoped).credentials)
    assert (forbidden.status_code, forbidden.json()["error"]) == (403, "unauthorized_client")
    for status in (200, 429):
        answer = await closed.client.post(TOKEN, params=Closed(closed.server, slow).credentials)
        assert answer.status_code == status
    assert answer.json()["error"] == "slow_down"
    assert int(answer.headers["retry-after"]) > 0


# Tokens


async def test_tokens_do_not_displace_each_other(closed: Closed) -> None:
    first = await closed.token()
    closed.server.clock.set(closed.server.clock.now() + 10)
    second = await closed.token()
    assert first != second
    assert [await closed.code(token) for token in (first, second)] == [None, None]


async def test_a_token_may_stand_in_a_header(closed: Closed) -> None:
    assert await closed.code(authorization=f"Bearer {await closed.token()}") is None


async def test_a_bearer_key_may_stand_where_a_token_does(closed: Closed) -> None:
    made = await closed.server.keys.create("acme", KeyType.BEARER)
    assert await closed.code(made.secret) is None


async def test_a_token_that_is_over_has_another_code_than_one_that_never_was(closed: Closed) -> None:
    token = await closed.token()
    other = AccessTokens(b"another server's secret, not this", closed.server.clock).issue(closed.pair.key.access_key)
    closed.server.clock.set(closed.server.clock.now() + LIFETIME)
    answer = await closed.draw(token)
    assert (answer["error_code"], answer["error_msg"].partition(":")[0]) == (111, "Access token expired")
    for wrong in (None, "", "x", other, token + "0", "24." + token[3:].swapcase(), "dsk_" + "0" * 43):
        answer = await closed.draw(wrong)
        assert answer["error_code"] == 110
        assert answer["error_msg"].startswith("Access token invalid or no longer valid: ")


async def test_the_tokens_of_a_revoked_pair_are_invalid(closed: Closed) -> None:
    await closed.server.keys.create("acme", KeyType.BEARER)
    token = await closed.token()
    await closed.server.keys.revoke(closed.pair.key.id)
    closed.server.clock.set(closed.server.clock.now() + FRESH_SECONDS)
    assert await closed.code(token) == 110


async def test_a_token_of_an_open_server_opens_no_closed_one(tmp_path: Path) -> None:
    async with serving(tmp_path, clock=HeldClock()) as server:
        anybody = {"grant_type": "client_credentials", "client_id": "any", "client_secret": "thing"}
        answer = await server.client.post(TOKEN, params=anybody)
        token = answer.json()["access_token"]
        closed = Closed(server, await server.keys.create("acme", KeyType.PAIR))
        for one in (token, "anything", None):
            assert await closed.code(one) is None
        server.clock.set(server.clock.now() + 3)
        assert await closed.code(token) == 110


async def test_on_an_open_server_nobody_gets_a_token_for_somebodys_pair(tmp_path: Path) -> None:
    async with serving(tmp_path, clock=HeldClock()) as server:
        assert (await server.client.get("/ping")).status_code == 200
        # The server still thinks that it is open, for two seconds.
        closed = Closed(server, await server.keys.create("acme", KeyType.PAIR))
        stolen = await server.client.post(TOKEN, params={**closed.credentials, "client_secret": "guessed"})
        assert stolen.status_code == 200
        server.clock.set(server.clock.now() + 3)
        assert await closed.code(stolen.json()["access_token"]) == 110
