"""iPollo's account: who may draw on the plan of an address, what is charged, and what the record shows to whom."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from diffuserve.auth import tokens
from diffuserve.core.account import KeyLimits, KeyType, Plan, PlanUnit
from diffuserve.core.job import JobStatus
from diffuserve.core.principal import Principal
from diffuserve.core.request import GenerationRequest
from diffuserve.dialects.ipollo.wallets import MASKED, moment
from support.app import Caller, Server, serving
from support.ipollo import ADDRESS, CHAT, RECORD, TXT2IMG, body, bought

pytestmark = pytest.mark.unit

OTHERS = "0x00000000000000000000000000000000000000ff"
SCOPES = frozenset({"dialect:ipollo"})


async def call(server: Server, token: str | None = None, **fields: Any) -> httpx2.Response:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return await server.client.post(TXT2IMG, json=body(**fields), headers=headers)


async def record(server: Server, token: str | None = None, **fields: Any) -> dict[str, Any]:
    answer = await call(server, token, **fields)
    assert answer.status_code == 200, answer.text
    (only,) = answer.json()["key"]["result"]
    found: dict[str, Any] = only
    return found


async def refused(server: Server, token: str | None = None, **fields: Any) -> tuple[int, int, str]:
    answer = await call(server, token, **fields)
    said = answer.json()
    assert (said["key"], said["image_base"]) == (None, None)
    return answer.status_code, said["result_code"], said["msg"]


async def now(server: Server, plan: Plan) -> Plan:
    return next(one for one in await server.accounts.plans() if one.id == plan.id)


# An open server: the address is enough


async def test_any_address_is_accepted_and_its_record_is_empty(server: Server) -> None:
    found = await record(server, btc_address="any text")
    assert found == dict.fromkeys(RECORD, "") | {
        "id": 0,
        "video_duration": 0,
        "total_duration": 0,
        "use_duration": 0,
        "address": "any text",
    }


async def test_the_older_key_stands_in_for_an_address(server: Server) -> None:
    assert (await record(server, btc_address=None, key="ts-be5f"))["address"] == "ts-be5f"


async def test_a_token_of_ours_is_never_repeated(server: Server) -> None:
    for fields in ({"btc_address": "dsk_" + "A" * 43}, {"btc_address": None, "key": "dsk_" + "A" * 43}):
        assert "dsk_" not in (await call(server, **fields)).text


async def test_an_address_draws_on_the_plan_that_was_bought_with_it(server: Server) -> None:
    plan = await bought(server.accounts, 60)
    found = await record(server)
    assert (await now(server, plan)).used == 1
    assert found == {
        "id": plan.id,
        "workspace_id": "",
        "key": MASKED,
        "video_duration": 60,
        "total_duration": 60,
        "use_duration": 1,
        "start_time": moment(plan.valid_from),
        "end_time": moment(plan.valid_until),
        "bench_mark": "",
        "note": "",
        "address": ADDRESS,
        "email": "",
        "discord_uid": "",
        "tg_uid": "",
    }


async def test_times_are_those_of_utc_plus_8() -> None:
    assert moment(1701766286.0) == "2023-12-05 16:51:26"


async def test_the_record_is_the_state_after_each_call(server: Server) -> None:
    await bought(server.accounts, 60)
    assert [(await record(server))["use_duration"] for _ in range(3)] == [1, 2, 3]


async def test_plans_of_one_address_add_up_and_the_first_to_end_pays(server: Server) -> None:
    await bought(server.accounts, 60, days=300)
    soon = await bought(server.accounts, 30, days=3)
    await bought(server.accounts, 1000, wallet=OTHERS)
    found = await record(server)
    assert (found["id"], found["video_duration"], found["total_duration"]) == (soon.id, 30, 90)


async def test_the_class_of_device_is_the_operators_text(tmp_path: Path) -> None:
    async with serving(tmp_path, ipollo_bench_mark="PGPU-3080-10G-CN") as server:
        await bought(server.accounts, 60)
        assert (await record(server))["bench_mark"] == "PGPU-3080-10G-CN"
        assert (await record(server, btc_address="another"))["bench_mark"] == ""


async def test_only_plans_of_the_address_pay_though_the_account_has_others(server: Server) -> None:
    await bought(server.accounts, 1000, wallet=None)
    await bought(server.accounts, 1, unit=PlanUnit.IMAGES)
    await record(server)
    status, code, message = await refused(server)
    assert (status, code) == (402, 201)
    assert message == "the plan of this address has 0 images left and this needs 1"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"days": -0.5}, "the plan of this address ended at "),
        ({"since": 1.0, "days": 2.0}, "the plan of this address begins at "),
        ({"unit": PlanUnit.VIDEO_SECONDS}, "the plan of this address pays for videos only"),
        ({"amount": 0.5}, "the plan of this address has 0.5 seconds left and this needs 5"),
    ],
)
async def test_a_plan_that_cannot_pay_says_why(server: Server, changes: dict[str, Any], words: str) -> None:
    plan = await bought(server.accounts, **{"amount": 60.0, **changes})
    status, code, message = await refused(server)
    assert (status, code) == (402, 201)
    assert message.startswith(words)
    assert await now(server, plan) == plan


async def test_a_job_that_fails_costs_nothing(server: Server) -> None:
    plan = await bought(server.accounts, 60)
    assert (await refused(server, prompt="fail:error"))[:2] == (500, 203)
    assert await now(server, plan) == plan


async def test_whoever_hangs_up_pays_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False) as server:
        plan = await bought(server.accounts, 60)
        submitted = server.submissions()
        caller = Caller(server.app, "POST", TXT2IMG, json.dumps(body()).encode()).call()
        job = await submitted.get()
        assert (job.account, (await now(server, plan)).reserved) == ("shop", 5)  # a second a step until it is measured
        caller.hang_up()
        await caller.finished()
        assert (await server.jobs.wait(job.id)).status is JobStatus.CANCELED
        assert await now(server, plan) == plan


async def test_a_chat_picture_is_charged_too(server: Server) -> None:
    plan = await bought(server.accounts, 100)
    answer = await server.client.post(CHAT, json={"prompt": "x", "btc_address": ADDRESS, "size": "256x256"})
    assert answer.status_code == 200
    assert (await now(server, plan)).used >= 1


# A closed server: an address is no key


async def test_an_address_alone_opens_nothing_and_tells_nothing(server: Server) -> None:
    await bought(server.accounts, 60)
    await server.keys.create("shop", KeyType.BEARER)
    known, unknown = await refused(server), await refused(server, btc_address=OTHERS)
    assert known == unknown
    status, code, message = known
    assert (status, code) == (401, 201)
    assert message == "a key is required: btc_address is none here; send the header Authorization: Bearer YOUR_KEY"


async def test_a_missing_address_is_a_missing_key(server: Server) -> None:
    await server.keys.create("shop", KeyType.BEARER)
    assert (await refused(server, btc_address=None))[:2] == (401, 201)


@pytest.mark.parametrize("place", ["authorization", "x-api-key", "key"])
async def test_a_key_draws_on_the_plan_of_its_accounts_address(server: Server, place: str) -> None:
    made = await server.keys.create("shop", KeyType.BEARER)
    plan, other = await bought(server.accounts, 60), await bought(server.accounts, 60, wallet=OTHERS, days=1)
    headers = {"authorization": f"Bearer {made.secret}"} if place == "authorization" else {place: made.secret}
    fields = body(key=made.secret) if place == "key" else body()
    answer = await server.client.post(TXT2IMG, json=fields, headers={} if place == "key" else headers)
    (found,) = answer.json()["key"]["result"]
    assert (found["id"], found["workspace_id"], found["key"], found["address"]) == (plan.id, "shop", MASKED, ADDRESS)
    assert made.secret not in answer.text
    assert ((await now(server, plan)).used, (await now(server, other)).used) == (1, 0)


async def test_a_key_wins_over_anothers_address(server: Server) -> None:
    made = await server.keys.create("stranger", KeyType.BEARER)
    theirs = await bought(server.accounts, 60)
    found = await record(server, made.secret)
    assert (found["id"], found["workspace_id"], found["address"]) == (0, "stranger", "")
    assert await now(server, theirs) == theirs
    own = await bought(server.accounts, 60, account="stranger", wallet=None)
    assert (await record(server, made.secret))["id"] == own.id


async def test_a_key_needs_no_address(server: Server) -> None:
    made = await server.keys.create("shop", KeyType.BEARER)
    assert (await record(server, made.secret, btc_address=None))["workspace_id"] == "shop"


async def test_a_wrong_key_does_not_fall_back_to_a_good_address(server: Server) -> None:
    await server.keys.create("shop", KeyType.BEARER, scopes=SCOPES, token=ADDRESS)
    assert await refused(server, "dsk_wrong") == (401, 201, "the key is not valid")
    assert (await refused(server, key="ts-wrong"))[0] == 401


async def test_an_address_that_the_operator_made_a_key_is_one(server: Server) -> None:
    await server.keys.create("shop", KeyType.BEARER, scopes=SCOPES, token=ADDRESS)
    plan = await bought(server.accounts, 60)
    found = await record(server)
    assert (found["id"], found["use_duration"], found["address"]) == (plan.id, 1, ADDRESS)
    assert (await refused(server, btc_address=OTHERS))[0] == 401


async def test_the_older_key_can_be_made_one_too(server: Server) -> None:
    await server.keys.create("shop", KeyType.BEARER, scopes=SCOPES, token="ts-be5f0000-1111")
    plan = await bought(server.accounts, 60, wallet="ts-be5f0000-1111")
    found = await record(server, btc_address=None, key="ts-be5f0000-1111")
    assert (found["id"], found["use_duration"]) == (plan.id, 1)


async def test_a_registered_address_opens_no_other_api_and_keeps_its_limits(server: Server) -> None:
    limits = KeyLimits(requests_per_day=1)
    await server.keys.create("shop", KeyType.BEARER, scopes=SCOPES, token=ADDRESS, limits=limits)
    headers = {"authorization": f"Bearer {ADDRESS}"}
    assert (await server.client.get("/ping", headers=headers)).status_code == 403
    await record(server)
    answer = await call(server)
    assert (answer.status_code, answer.json()["result_code"], "retry-after" in answer.headers) == (429, 203, True)


async def test_an_address_is_no_key_after_it_was_revoked_and_can_become_one_again(server: Server) -> None:
    first = await server.keys.create("shop", KeyType.BEARER, scopes=SCOPES, token=ADDRESS)
    await server.keys.create("shop", KeyType.BEARER)
    await server.keys.revoke(first.key.id)
    assert (await refused(server))[0] == 401
    again = await server.keys.create("shop", KeyType.BEARER, scopes=SCOPES, token=ADDRESS)
    assert again.key.id != first.key.id
    assert (await record(server))["key"] == ""


async def test_a_token_in_the_place_of_the_address_is_no_way_in(server: Server) -> None:
    made = await server.keys.create("shop", KeyType.BEARER)
    answer = await call(server, btc_address=made.secret)
    assert answer.status_code == 401
    assert made.secret not in answer.text


async def test_stored_addresses_that_are_keys_are_hashes(server: Server, tmp_path: Path) -> None:
    await server.keys.create("shop", KeyType.BEARER, scopes=SCOPES, token=ADDRESS)
    files = b"".join(path.read_bytes() for path in tmp_path.glob("jobs.sqlite3*"))
    assert ADDRESS.encode() not in files
    assert tokens.hashed(ADDRESS).encode() in files


async def test_an_account_that_is_used_up_is_told_so_in_the_words_of_every_dialect(server: Server) -> None:
    made = await server.keys.create("shop", KeyType.BEARER)
    await bought(server.accounts, 1, unit=PlanUnit.IMAGES, wallet=None)
    await record(server, made.secret)
    said = await refused(server, made.secret)
    assert said == (402, 201, "the account's plan has 0 images left and this needs 1")


# Exactly


async def test_callers_at_once_cannot_overspend_a_wallet(server: Server) -> None:
    plan = await bought(server.accounts, 7)
    # Measured first, so that a picture sets aside just the second that it costs.
    wish = GenerationRequest(prompt="x", width=64, height=64)
    await server.jobs.wait((await server.jobs.submit(Principal("other"), "native", wish)).id)
    answers = await asyncio.gather(*(call(server) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [402] * 13
    spent = await now(server, plan)
    assert (spent.used, spent.reserved) == (7, 0)
    uses = [answer.json()["key"]["result"][0]["use_duration"] for answer in answers if answer.status_code == 200]
    assert all(1 <= used <= 7 for used in uses)
    assert 7 in uses


async def test_a_picture_costs_whole_seconds(tmp_path: Path) -> None:
    async with serving(tmp_path, start=False) as server:
        plan = await bought(server.accounts, 60, now=time.time())
        submitted = server.submissions()
        caller = Caller(server.app, "POST", TXT2IMG, json.dumps(body(steps=7)).encode()).call()
        job = await submitted.get()
        assert job.charge is not None
        assert (job.charge.unit, job.charge.amount, job.charge.plan_id) == (PlanUnit.SECONDS, 7.0, plan.id)
        caller.hang_up()
        await caller.finished()
