"""The plan of a wallet under many callers at once, over HTTP, on both databases: it is used up exactly, and never beyond."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

import support.app
from diffuserve.core.account import PlanUnit
from diffuserve.core.principal import Principal
from diffuserve.core.request import GenerationRequest
from diffuserve.store import Stores, open_store
from support.app import Server, serving
from support.ipollo import TXT2IMG, body, bought

pytestmark = pytest.mark.integration

CALLERS = 24


@pytest.fixture
def real_store(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of `support.app` stand on the database of this test."""

    async def opened(_: str) -> Stores:
        return await open_store(database_url)

    monkeypatch.setattr(support.app, "open_store", opened)


async def measured(server: Server) -> None:
    """A step has taken no time once: from then on a picture sets aside no more than it costs."""
    wish = GenerationRequest(prompt="x", width=64, height=64)
    await server.jobs.wait((await server.jobs.submit(Principal("other"), "native", wish)).id)


@pytest.mark.usefixtures("real_store")
@pytest.mark.parametrize("unit", [PlanUnit.SECONDS, PlanUnit.IMAGES])
async def test_a_wallet_pays_for_as_many_pictures_as_it_can(tmp_path: Path, unit: PlanUnit) -> None:
    async with serving(tmp_path) as server:
        await measured(server)
        await bought(server.accounts, 10, unit=unit)

        async def ask(prompt: str) -> int:
            return (await server.client.post(TXT2IMG, json=body(prompt=prompt))).status_code

        # A failing picture gives back what it set aside, so some may find the plan empty for a moment; none may exceed it.
        prompts = ["a cat"] * CALLERS + ["fail:error"] * 6
        random.Random(7).shuffle(prompts)
        statuses = await asyncio.gather(*map(ask, prompts))
        assert set(statuses) <= {200, 402, 500}
        drawn = statuses.count(200)
        (plan,) = await server.accounts.plans("shop")
        assert (plan.used, plan.reserved, drawn <= 10) == (drawn, 0, True)
        while (await ask("a cat")) == 200:
            drawn += 1
        (plan,) = await server.accounts.plans("shop")
        assert (plan.used, plan.reserved, drawn) == (10, 0, 10)
        bills = [entry async for entry in server.accounts.usage("shop", 0, 2**33)]
        assert sum(entry.charged for entry in bills) == 10
        assert sum(entry.status == "succeeded" for entry in bills) == 10


@pytest.mark.usefixtures("real_store")
async def test_two_plans_of_a_wallet_are_both_used_up(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await measured(server)
        await bought(server.accounts, 4, days=3)
        await bought(server.accounts, 5)
        await bought(server.accounts, 100, wallet="0xanother")

        async def ask() -> int:
            return (await server.client.post(TXT2IMG, json=body())).status_code

        statuses = await asyncio.gather(*(ask() for _ in range(CALLERS)))
        assert sorted(statuses) == [200] * 9 + [402] * (CALLERS - 9)
        plans = await server.accounts.plans("shop")
        assert [(plan.used, plan.reserved) for plan in plans] == [(4, 0), (5, 0), (0, 0)]
