"""Notifications on their way: a real store, real receivers on loopback, a clock that the test moves."""

from __future__ import annotations

import asyncio
import time

import pytest
from standardwebhooks import Webhook

from diffuserve.core.delivery import DeliveryStatus
from diffuserve.core.errors import StorageFailed
from diffuserve.core.job import JobStatus
from diffuserve.webhooks import sign
from diffuserve.webhooks.hosts import REST_SECONDS, SLOTS
from support.clock import FakeClock
from support.models import job as any_job
from support.outbox import SECRET, Outbox
from support.receiver import answer, receiving

pytestmark = pytest.mark.integration


async def test_a_notification_arrives_and_is_noted(box: Outbox) -> None:
    async with receiving() as receiver:
        delivery = await box.end_job(receiver.url)
        await box.started()
        call = await receiver.call()
        assert (call.id, call.json, call.headers["content-type"]) == (
            delivery.id,
            {"job": 1, "status": "canceled"},
            "application/json",
        )
        assert await box.watched.written.get() == ("delivered", delivery.id)
    after = await box.of(1)
    assert (after.status, after.delivered_at) == (DeliveryStatus.DELIVERED, box.clock.now())


async def test_what_is_delivered_is_not_sent_again(box: Outbox) -> None:
    async with receiving() as receiver:
        await box.end_job(receiver.url)
        sender = await box.started()
        await box.watched.written.get()
        await box.clock.advance(10**5)
        assert await box.look(sender) == 0
        assert receiver.calls.qsize() == 1


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_a_refusal_is_tried_again_after_a_pause_with_the_same_id(box: Outbox, status: int) -> None:
    async with receiving(answer(status, body=b"go away")) as receiver:
        await box.end_job(receiver.url)
        sender = await box.started()
        await box.watched.written.get()
        failed = await box.of(1)
        assert (failed.status, failed.attempts, failed.last_error) == (
            DeliveryStatus.PENDING,
            1,
            f"the receiver answered {status}",
        )
        await box.clock.advance(4.9)
        assert await box.look(sender) == 0
        await box.clock.advance(0.2)
        assert await box.look(sender) == 1
        first, second = await receiver.call(), await receiver.call()
        assert first.id == second.id
        assert (await box.watched.written.get())[0] == "delivered"


async def test_every_attempt_is_signed_anew(box: Outbox) -> None:
    async with receiving(answer(500)) as receiver:
        await box.end_job(receiver.url)
        sender = await box.started()
        await box.watched.written.get()
        await box.clock.advance(6)
        await box.look(sender)
        first, second = await receiver.call(), await receiver.call()
        times = [int(call.headers["webhook-timestamp"]) for call in (first, second)]
        assert times[1] - times[0] == 6
        signed = sign.signature(SECRET, second.id, times[1], second.body)
        assert second.headers["webhook-signature"] == f"v1,{signed}"


async def test_the_specifications_library_verifies_what_arrives(box: Outbox) -> None:
    box.clock = FakeClock(time.time())
    async with receiving() as receiver:
        await box.end_job(receiver.url)
        await box.started()
        call = await receiver.call()
        assert Webhook(sign.write_secret(SECRET)).verify(call.body, call.headers) == call.json


async def test_pauses_grow(box: Outbox) -> None:
    async with receiving(always=answer(500)) as receiver:
        await box.end_job(receiver.url)
        sender = await box.started()
        for pause in (5, 10, 20, 40):
            await box.watched.written.get()
            assert (await box.of(1)).next_at == box.clock.now() + pause
            await box.clock.advance(pause)
            assert await box.look(sender) == 1


async def test_a_pause_that_the_receiver_asks_for_is_kept(box: Outbox) -> None:
    async with receiving(answer(429, "Retry-After: 300")) as receiver:
        await box.end_job(receiver.url)
        await box.started()
        await box.watched.written.get()
        assert (await box.of(1)).next_at == box.clock.now() + 300


async def test_a_receiver_that_was_down_for_longer_than_the_first_pauses_still_hears(box: Outbox) -> None:
    async with receiving() as receiver:
        url, port = receiver.url, receiver.port
    await box.end_job(url)
    sender = await box.started()
    for pause in (5, 10, 20, 40, 80):
        assert (await box.watched.written.get())[0] == "postponed"
        await box.clock.advance(max(pause, REST_SECONDS))
        if pause < 80:
            assert await box.look(sender) == 1
    assert "could not be reached" in ((await box.of(1)).last_error or "")
    async with receiving(port=port) as receiver:
        assert await box.look(sender) == 1
        assert (await receiver.call()).json["job"] == 1
        assert (await box.watched.written.get())[0] == "delivered"


async def test_a_host_that_cannot_be_reached_is_left_alone_for_a_while(box: Outbox) -> None:
    async with receiving() as receiver:
        url, port = receiver.url, receiver.port
    sender = await box.started()
    for _ in range(3):
        await box.end_job(url)
        await box.look(sender)
        await box.watched.written.get()
    async with receiving(port=port) as receiver:
        await box.end_job(url)
        await box.look(sender)
        assert (await box.watched.written.get())[0] == "postponed"
        assert receiver.calls.empty()
        resting = await box.of(4)
        assert resting.next_at == box.clock.now() + REST_SECONDS
        await box.clock.advance(REST_SECONDS)
        await box.look(sender)
        assert (await receiver.call()).method == "POST"


async def test_a_notification_is_given_up_when_its_time_is_over_with_a_last_attempt_at_the_end(box: Outbox) -> None:
    async with receiving(always=answer(500)) as receiver:
        await box.end_job(receiver.url)
        sender = await box.started(give_up_seconds=12.0)
        made = box.clock.now()
        for at in (5, 12):
            assert (await box.watched.written.get())[0] == "postponed"
            assert (await box.of(1)).next_at == made + at
            await box.clock.advance(made + at - box.clock.now())
            await box.look(sender)
        assert (await box.watched.written.get())[0] == "buried"
        assert receiver.calls.qsize() == 3
    dead = await box.of(1)
    assert (dead.status, dead.last_error) == (DeliveryStatus.DEAD, "the receiver answered 500")


async def test_a_given_up_one_is_replayed_with_its_id_and_a_new_span_of_time(box: Outbox) -> None:
    async with receiving(answer(410), answer(500)) as receiver:
        delivery = await box.end_job(receiver.url)
        sender = await box.started(give_up_seconds=60.0)
        assert (await box.watched.written.get())[0] == "buried"
        await box.clock.advance(10_000)
        assert await box.look(sender) == 0
        assert await box.stores.deliveries.replay(delivery.id, box.clock.now()) == 1
        assert await box.look(sender) == 1
        assert (await box.watched.written.get())[0] == "postponed"
        await box.clock.advance(5)
        assert await box.look(sender) == 1
        assert (await box.watched.written.get())[0] == "delivered"
        assert {(await receiver.call()).id for _ in range(3)} == {delivery.id}


async def test_a_receiver_that_is_gone_for_good_is_given_up_at_once(box: Outbox) -> None:
    async with receiving(answer(410)) as receiver:
        await box.end_job(receiver.url)
        await box.started()
        assert (await box.watched.written.get())[0] == "buried"


async def test_a_redirect_is_not_followed(box: Outbox) -> None:
    async with receiving() as inside, receiving(answer(302, f"Location: {inside.url}")) as receiver:
        await box.end_job(receiver.url)
        await box.started()
        assert (await box.watched.written.get())[0] == "postponed"
        assert inside.calls.empty()
    assert (await box.of(1)).last_error == "the receiver answered 302"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_an_address_inside_is_not_called_when_it_comes_to_it(box: Outbox, host: str) -> None:
    async with receiving() as receiver:
        await box.end_job(receiver.url.replace("127.0.0.1", host))
        await box.started(allow_private=False)
        assert (await box.watched.written.get())[0] == "postponed"
        assert (await box.of(1)).last_error == "the receiver has no public address"
        assert receiver.calls.empty()


async def test_a_receiver_that_never_answers_is_tried_again_and_holds_up_nobody_else(box: Outbox) -> None:
    async with receiving(always=None) as silent, receiving() as receiver:
        for _ in range(20):
            await box.end_job(silent.url)
        await box.end_job(receiver.url)
        await box.started(timeout=0.3)
        assert await box.watched.written.get() == ("delivered", (await box.of(21)).id)
        what, which = await box.watched.written.get()
        assert (what, silent.most_open) == ("postponed", SLOTS)
    (late,) = [delivery for delivery in await box.stores.deliveries.deliveries() if delivery.id == which]
    assert late.last_error == "the receiver did not answer within 0.3 seconds"


async def test_many_arrive_once_each(box: Outbox) -> None:
    async with receiving() as receiver:
        sent = {(await box.end_job(receiver.url)).id for _ in range(150)}
        await box.started(concurrency=16)
        arrived = [(await receiver.call()).id for _ in range(150)]
        assert sorted(arrived) == sorted(sent)
        for _ in range(150):
            assert (await box.watched.written.get())[0] == "delivered"


async def test_notifications_of_one_job_keep_their_order(box: Outbox) -> None:
    async with receiving(answer(500)) as receiver:
        first = await box.end_job(receiver.url)
        second = await box.another_of(first, "msg_second")
        sender = await box.started()
        await box.watched.written.get()
        assert await box.look(sender) == 0
        await box.clock.advance(5)
        assert await box.look(sender) == 1
        assert await box.watched.written.get() == ("delivered", first.id)
        assert await box.look(sender) == 1
        assert await box.watched.written.get() == ("delivered", second)
        assert [(await receiver.call()).id for _ in range(3)] == [first.id, first.id, second]


async def test_two_senders_share_the_work(box: Outbox) -> None:
    async with receiving() as receiver:
        sent = {(await box.end_job(receiver.url)).id for _ in range(40)}
        await asyncio.gather(box.sender(concurrency=8).start(), box.sender(concurrency=8).start())
        for _ in range(40):
            await box.watched.written.get()
        assert receiver.calls.qsize() == 40
        assert {(await receiver.call()).id for _ in range(40)} == sent


async def test_a_sender_looks_for_new_ones_by_itself(box: Outbox) -> None:
    async with receiving() as receiver:
        await box.started(poll_seconds=2.0)
        await box.end_job(receiver.url)
        await box.clock.until_asleep(2.0)
        await box.clock.advance(2.0)
        assert (await receiver.call()).json["job"] == 1


async def test_a_job_without_a_callback_wakes_nobody(box: Outbox) -> None:
    async with receiving() as receiver:
        sender = await box.started()
        await box.end_job(receiver.url)
        sender.job_ended(any_job(9, status=JobStatus.SUCCEEDED))
        assert box.watched.claimed.empty()
        ended = await box.stores.jobs.get(1)
        sender.job_ended(ended)
        assert (await receiver.call()).json["job"] == 1


async def test_a_success_that_cannot_be_written_down_at_once_is_written_later(box: Outbox) -> None:
    async with receiving() as receiver:
        box.watched.broken["delivered"] = [StorageFailed("the disk is on fire")] * 3
        await box.end_job(receiver.url)
        await box.started()
        for pause in (0.2, 1.0, 3.0):
            await box.clock.until_asleep(pause)
            await box.clock.advance(pause)
        assert (await box.watched.written.get())[0] == "delivered"
        assert receiver.calls.qsize() == 1


async def test_a_store_that_fails_is_asked_again(box: Outbox) -> None:
    async with receiving() as receiver:
        box.watched.broken["claim_deliveries"] = [StorageFailed("the disk is on fire")]
        await box.end_job(receiver.url)
        await box.sender().start()
        await box.clock.until_asleep(1.0)
        await box.clock.advance(1.0)
        assert (await receiver.call()).json["job"] == 1


async def test_words_that_fail_are_tried_again(box: Outbox) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with receiving() as receiver:
        box.rendered = fail  # type: ignore[assignment]
        await box.end_job(receiver.url)
        await box.started()
        assert (await box.watched.written.get())[0] == "postponed"
        assert "put into words" in ((await box.of(1)).last_error or "")
        assert receiver.calls.empty()


async def test_what_is_in_an_address_is_not_logged(box: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="diffuserve")
    async with receiving(answer(500), answer(410)) as receiver:
        await box.end_job(receiver.url + "?token=hunter2")
        sender = await box.started()
        assert (await box.watched.written.get())[0] == "postponed"
        await box.clock.advance(5)
        await box.look(sender)
        assert (await box.watched.written.get())[0] == "buried"
    assert str(receiver.port) in caplog.text
    assert "hunter2" not in caplog.text + str((await box.of(1)).last_error)


async def test_draining_lets_a_call_under_way_finish_and_takes_no_more(box: Outbox) -> None:
    async with receiving(always=None) as receiver:
        await box.end_job(receiver.url)
        sender = await box.started(timeout=0.3)
        await receiver.call()
        await box.end_job(receiver.url)
        await sender.drain(30)
        assert await box.watched.written.get() == ("postponed", (await box.of(1)).id)
        assert (await box.of(2)).attempts == 0


async def test_a_call_that_was_cut_comes_up_again_with_the_same_id(box: Outbox) -> None:
    async with receiving(None) as receiver:
        await box.end_job(receiver.url)
        sender = await box.started()
        first = await receiver.call()
        await sender.close()
        other = await box.started()
        assert receiver.calls.empty()
        await box.clock.advance(61)
        assert await box.look(other) == 1
        assert (await receiver.call()).id == first.id
