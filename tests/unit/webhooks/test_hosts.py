"""Fairness among receivers."""

from __future__ import annotations

import asyncio

import pytest

from diffuserve.webhooks.hosts import CROWD, REST_SECONDS, SLOTS, SLOW_SECONDS, Hosts

pytestmark = pytest.mark.unit

NAME = "example.org"


async def miss(hosts: Hosts, times: int, now: float = 100.0) -> None:
    for _ in range(times):
        async with hosts.slot(NAME):
            hosts.missed(NAME, now)


async def test_a_host_that_was_missed_three_times_in_a_row_rests() -> None:
    hosts = Hosts()
    await miss(hosts, 2)
    assert hosts.rests_until(NAME, 100) is None
    await miss(hosts, 1)
    assert hosts.rests_until(NAME, 100) == 100 + REST_SECONDS
    assert hosts.rests_until(NAME, 100 + REST_SECONDS) is None


async def test_an_answer_ends_the_row() -> None:
    hosts = Hosts()
    await miss(hosts, 2)
    async with hosts.slot(NAME):
        hosts.reached(NAME, 0.1)
    await miss(hosts, 2)
    assert hosts.rests_until(NAME, 100) is None


async def test_one_host_has_so_many_slots_and_another_has_its_own() -> None:
    hosts, entered, leave = Hosts(), [], asyncio.Event()

    async def call(name: str) -> None:
        async with hosts.slot(name):
            entered.append(name)
            await leave.wait()

    calls = [asyncio.create_task(call(name)) for name in [NAME] * (SLOTS + 5) + ["other.example"]]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (entered.count(NAME), entered.count("other.example")) == (SLOTS, 1)
    leave.set()
    await asyncio.gather(*calls)
    assert entered.count(NAME) == SLOTS + 5


async def test_a_slow_host_has_few_waiting_and_lets_go_of_the_rest() -> None:
    hosts, leave = Hosts(), asyncio.Event()
    let_go = []

    async def call() -> None:
        async with hosts.slot(NAME) as free:
            if not free:
                let_go.append(1)
                return
            await leave.wait()
            hosts.reached(NAME, SLOW_SECONDS + 1)

    async with hosts.slot(NAME):
        hosts.reached(NAME, SLOW_SECONDS + 1)
    calls = [asyncio.create_task(call()) for _ in range(CROWD + 30)]
    await asyncio.sleep(0)
    assert len(let_go) == 30
    leave.set()
    await asyncio.gather(*calls)
    assert len(let_go) == 30


async def test_those_that_wait_for_a_host_that_turns_out_to_be_slow_are_let_go_too() -> None:
    hosts, leave = Hosts(), asyncio.Event()
    served = []

    async def call() -> None:
        async with hosts.slot(NAME) as free:
            if free:
                served.append(1)
                await leave.wait()
                hosts.reached(NAME, SLOW_SECONDS + 1)

    calls = [asyncio.create_task(call()) for _ in range(CROWD + 100)]
    await asyncio.sleep(0)
    leave.set()
    await asyncio.gather(*calls)
    assert SLOTS < len(served) <= SLOTS + CROWD


async def test_a_host_that_answers_soon_again_has_no_limit() -> None:
    hosts = Hosts()
    for seconds in (SLOW_SECONDS + 1, 0.1):
        async with hosts.slot(NAME):
            hosts.reached(NAME, seconds)
    assert len(hosts) == 0


async def test_nothing_is_remembered_of_hosts_that_answer() -> None:
    hosts = Hosts()
    async with hosts.slot(NAME):
        hosts.reached(NAME, 0.1)
    assert len(hosts) == 0


async def test_memory_of_hosts_that_fail_has_a_bound() -> None:
    hosts = Hosts()
    for number in range(3000):
        async with hosts.slot(str(number)):
            hosts.missed(str(number), 100)
    assert len(hosts) < 1100
