"""Signed requests in the Qianfan dialect, and the model list that signing clients ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffuserve.core.account import KeyType
from support.app import HeldClock, model, serving
from support.bce import authorization
from support.qianfan import BODY, MODELS, SDXL, Closed

pytestmark = pytest.mark.unit


@pytest.fixture
async def closed(tmp_path: Path) -> AsyncIterator[Closed]:
    async with serving(tmp_path, clock=HeldClock()) as server:
        yield Closed(server, await server.keys.create("acme", KeyType.PAIR))


# Signatures


async def test_a_signed_request_is_drawn(closed: Closed) -> None:
    assert await closed.code(**closed.signature()) is None


async def test_clients_that_sign_the_host_without_its_port_are_understood(closed: Closed) -> None:
    headers = {"host": "localhost", "x-bce-date": "2023-11-14T22:13:20Z"}
    signed = authorization(closed.pair, "POST", SDXL, headers, now=closed.server.clock.now())
    assert await closed.code(**{**headers, "host": "localhost:8000", "authorization": signed}) is None


async def test_the_query_is_signed(closed: Closed) -> None:
    query = [("名", "红 苹果"), ("a", "")]
    signed = closed.signature(query=query)
    for params, code in ((query, None), (query[::-1], None), ([*query, ("b", "1")], 14), ([], 14)):
        answer = await closed.client.post(SDXL, json=BODY, params=params, headers=signed)
        assert answer.json().get("error_code") == code, params


async def test_a_signature_counts_before_a_token(closed: Closed) -> None:
    bad = {**closed.signature(), "request_id": "other"}
    assert await closed.code(await closed.token(), **bad) == 14


@pytest.mark.parametrize(
    "changed",
    [
        {"pair": ("DSAK" + "A" * 16, "x")},
        {"pair": ("../../etc", "x")},
        {"path": SDXL + "x"},
        {"seconds": 0, "sent": {"x-bce-date": "2023-11-14T22:13:21Z"}},
        {"sent": {"request_id": "other"}},
        {"sent": {"host": "127.0.0.1:8000"}},
        {"sent": {"x-bce-date": "other"}},
    ],
)
async def test_a_wrong_signature_is_answered_14(closed: Closed, changed: dict[str, Any]) -> None:
    answer = await closed.draw(**closed.signature(**changed))
    assert answer["error_code"] == 14
    assert answer["error_msg"].startswith("IAM Certification failed: ")
    assert closed.pair.secret not in str(answer)


async def test_a_wrong_secret_is_answered_14(closed: Closed) -> None:
    wrong = (closed.pair.key.access_key or "", "x")
    assert await closed.code(**closed.signature(pair=wrong)) == 14


@pytest.mark.parametrize(("later", "code"), [(300, None), (301, 14), (-900, None), (-901, 14)])
async def test_a_signature_is_good_from_a_little_before_until_its_end(
    closed: Closed, later: int, code: int | None
) -> None:
    signed = closed.signature()
    closed.server.clock.set(closed.server.clock.now() + later)
    assert await closed.code(**signed) == code


async def test_a_signature_of_a_revoked_pair_is_refused(closed: Closed) -> None:
    await closed.server.keys.create("acme", KeyType.BEARER)
    signed = closed.signature()
    await closed.server.keys.revoke(closed.pair.key.id)
    assert await closed.code(**signed) == 14


async def test_jobs_belong_to_the_account_of_the_pair(closed: Closed) -> None:
    submitted = closed.server.submissions()
    for code in (await closed.code(await closed.token()), await closed.code(**closed.signature())):
        assert code is None
        job = await submitted.get()
        assert (job.account, job.key_id) == ("acme", closed.pair.key.id)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.binary(max_size=120).filter(lambda raw: b"\r" not in raw and b"\n" not in raw))
async def test_whatever_stands_in_the_header_is_answered(closed: Closed, text: bytes) -> None:
    for raw in (
        text,
        b"bce-auth-v1/" + text,
        b"bce-auth-v1/A/2023-11-14T22:13:20Z/300/host/" + text,
        b"Bearer " + text,
    ):
        headers = [(b"authorization", raw), (b"content-type", b"application/json")]
        answer = await closed.client.post(SDXL, content=b"{}", headers=headers)
        assert answer.json()["error_code"] in (14, 110)


# The model list


async def test_models_are_listed_under_their_names_and_the_one_that_clients_know(closed: Closed) -> None:
    answer = await closed.list_models(**closed.signature(MODELS))
    result = answer.json()["result"]
    named = {entry["name"]: entry["url"].split("/")[-2:] for entry in result["common"]}
    assert named == {
        "Stable-Diffusion-XL": ["text2image", "sd_xl"],
        "tiny": ["text2image", "tiny"],
        "other": ["text2image", "other"],
    }
    assert {entry["apiType"] for entry in result["common"]} == {"text2image"}
    assert result["custom"] == []


async def test_every_listed_address_draws(closed: Closed) -> None:
    token = await closed.token()
    listed = (await closed.list_models(**closed.signature(MODELS))).json()["result"]["common"]
    for entry in listed:
        answer = await closed.client.post(entry["url"], json=BODY, params={"access_token": token})
        assert "data" in answer.json(), entry


async def test_a_model_called_sd_xl_is_the_one_that_clients_know(tmp_path: Path) -> None:
    models = (model("tiny"), model("big", aliases=("sd_xl",)))
    async with serving(tmp_path, models=models) as server:
        submitted = server.submissions()
        listed = (await server.client.post(MODELS, json={})).json()["result"]["common"]
        await server.client.post(listed[0]["url"], json=BODY)
        assert (await submitted.get()).request.model == "big"


async def test_only_models_that_the_key_may_use_are_listed(closed: Closed) -> None:
    scoped = await closed.server.keys.create("acme", KeyType.PAIR, scopes=frozenset({"model:other"}))
    answer = await closed.list_models(**closed.signature(MODELS, pair=scoped))
    assert [entry["name"] for entry in answer.json()["result"]["common"]] == ["other"]


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ({"apiTypefilter": ["text2image"]}, 3),
        ({"apiTypefilter": ["chat"]}, 0),
        ({"apiTypefilter": []}, 3),
        ({"apiTypefilter": "chat"}, 3),
    ],
)
async def test_the_list_may_be_filtered(closed: Closed, body: dict[str, Any], count: int) -> None:
    answer = await closed.list_models(body, **closed.signature(MODELS))
    assert len(answer.json()["result"]["common"]) == count


async def test_a_list_below_our_mount_may_be_signed_with_it_or_without(closed: Closed) -> None:
    for path in (MODELS, f"/qianfan{MODELS}"):
        assert (await closed.list_models(path=f"/qianfan{MODELS}", **closed.signature(path))).status_code == 200


@pytest.mark.parametrize(
    ("changed", "status", "code", "text"),
    [
        (
            {"pair": ("DSAK" + "A" * 16, "x")},
            *(403, "InvalidAccessKeyId", "NotFound, cause: Could not find credential."),
        ),
        (
            {"sent": {"request_id": "other"}},
            *(400, "SignatureDoesNotMatch"),
            "SignatureDoesNotMatch, cause: Fail to authn user: Signature does not match",
        ),
        (
            {"seconds": 0},
            400,
            "RequestExpired",
            "RequestExpired, cause: RequestExpired",
        ),
    ],
)
async def test_a_refusal_of_the_list_has_the_envelope_that_clients_look_for(
    closed: Closed, changed: dict[str, Any], status: int, code: str, text: str
) -> None:
    signed = closed.signature(MODELS, **changed)
    closed.server.clock.set(closed.server.clock.now() + 1)
    answer = await closed.list_models(**signed)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert set(answer.json()) == {"code", "message", "requestId"}
    assert (answer.headers["x-bce-error-code"], answer.headers["x-bce-error-message"]) == (code, text)


async def test_other_refusals_of_the_list_have_it_too(closed: Closed) -> None:
    for headers, status, code in (
        ({}, 401, "AccessDenied"),
        ({"authorization": "bce-auth-v1/x"}, 400, "InvalidHTTPAuthHeader"),
    ):
        answer = await closed.list_models(**headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    scoped = await closed.server.keys.create("acme", KeyType.PAIR, scopes=frozenset({"dialect:plain"}))
    forbidden = await closed.list_models(**closed.signature(MODELS, pair=scoped))
    assert (forbidden.status_code, forbidden.json()["code"]) == (403, "AccessDenied")
    broken = await closed.client.post(MODELS, content=b"{", headers=closed.signature(MODELS))
    assert (broken.status_code, broken.json()["code"]) == (400, "MalformedJSON")
    assert (await closed.client.get(MODELS)).status_code == 405
