"""Open or closed, whose key, which dialect: the gate on a clock that is moved by hand."""

from __future__ import annotations

import functools

import pytest

from diffuserve.auth import Gate, Sealer
from diffuserve.auth import gate as gate_module
from diffuserve.auth.recent import Recent
from diffuserve.core.account import Key, KeyLimits, KeyType
from diffuserve.core.errors import Forbidden, InternalError, RateLimited, StorageFailed, Unauthenticated
from diffuserve.core.principal import ANONYMOUS, Principal
from support.accounts import SECRET, MemoryAccounts, bearer_key, keyring
from support.clock import FakeClock

pytestmark = pytest.mark.unit


class Entrance:
    """A gate, its store and its clock."""

    def __init__(self, *, may_be_open: bool = True) -> None:
        self.store, self.clock = MemoryAccounts(), FakeClock()
        self.gate = Gate(self.store, Sealer(SECRET), self.clock, may_be_open=may_be_open)

    async def enter(self, token: str | None, dialect: str = "plain") -> Principal:
        async def identify() -> Key:
            return await self.gate.by_token(token)

        return await self.gate.enter(dialect, identify)

    async def pass_seconds(self, seconds: float) -> None:
        await self.clock.advance(seconds)


async def test_without_keys_everybody_is_anonymous_whatever_they_show() -> None:
    here = Entrance()
    assert await here.enter(None) is ANONYMOUS
    assert await here.enter("anything") is ANONYMOUS


async def test_the_first_key_closes_a_running_server_within_two_seconds() -> None:
    here = Entrance()
    assert await here.gate.is_open()
    made = await bearer_key(here.store, here.clock)
    await here.pass_seconds(2)
    with pytest.raises(Unauthenticated, match="a key is required"):
        await here.enter(None)
    assert (await here.enter(made.secret)).account == "acme"


async def test_where_it_may_not_be_open_nobody_gets_in_without_keys() -> None:
    here = Entrance(may_be_open=False)
    with pytest.raises(Unauthenticated):
        await here.enter(None)


async def test_a_server_for_others_stays_closed_after_its_last_key_is_revoked() -> None:
    here = Entrance(may_be_open=False)
    made = await bearer_key(here.store, here.clock)
    await keyring(here.store, here.clock).revoke(made.key.id)
    with pytest.raises(Unauthenticated, match="not valid"):
        await here.enter(made.secret)


@pytest.mark.parametrize("token", ["dsk_wrong", "", "\ud800"])
async def test_a_wrong_key_is_refused(token: str) -> None:
    here = Entrance()
    await bearer_key(here.store, here.clock)
    with pytest.raises(Unauthenticated, match="the key is not valid"):
        await here.enter(token)


async def test_a_principal_has_the_keys_account_scopes_limits_and_priority() -> None:
    here = Entrance()
    limits = KeyLimits(concurrent_jobs=3)
    scopes = frozenset({"model:tiny", "admin"})
    made = await keyring(here.store, here.clock).create(
        "acme", KeyType.BEARER, scopes=scopes, limits=limits, priority=5
    )
    assert await here.enter(made.secret) == Principal("acme", made.key.id, scopes, limits, 5)


async def test_a_revoked_key_works_for_two_seconds_at_most() -> None:
    here = Entrance()
    made, _ = await bearer_key(here.store, here.clock), await bearer_key(here.store, here.clock)
    await here.enter(made.secret)
    await keyring(here.store, here.clock).revoke(made.key.id)
    await here.pass_seconds(2)
    with pytest.raises(Unauthenticated):
        await here.enter(made.secret)


async def test_the_store_is_asked_once_for_many_requests_of_a_key() -> None:
    here = Entrance()
    made = await bearer_key(here.store, here.clock)
    for _ in range(100):
        await here.enter(made.secret)
    assert here.store.asked == 1


async def test_a_clock_that_is_set_back_does_not_keep_a_revoked_key_alive() -> None:
    here = Entrance()
    made, _ = await bearer_key(here.store, here.clock), await bearer_key(here.store, here.clock)
    await here.enter(made.secret)
    await keyring(here.store, here.clock).revoke(made.key.id)
    await here.pass_seconds(-3600)
    with pytest.raises(Unauthenticated):
        await here.enter(made.secret)


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "Recent", functools.partial(Recent, limit=3))
    here = Entrance()
    made = [await bearer_key(here.store, here.clock) for _ in range(5)]
    for key in made:
        await here.enter(key.secret)
    await here.enter(made[-1].secret)
    assert here.store.asked == 5
    await here.enter(made[0].secret)
    assert here.store.asked == 6


async def test_a_key_of_one_dialect_is_forbidden_in_another() -> None:
    here = Entrance()
    made = await bearer_key(here.store, here.clock, "acme", "dialect:native")
    assert (await here.enter(made.secret, "native")).key_id == made.key.id
    with pytest.raises(Forbidden, match="may not use this API"):
        await here.enter(made.secret, "plain")


async def test_a_key_that_calls_too_often_is_told_when_to_come_back() -> None:
    here = Entrance()
    made = await bearer_key(here.store, here.clock, limits=KeyLimits(requests_per_second=1))
    await here.enter(made.secret)
    with pytest.raises(RateLimited):
        await here.enter(made.secret)
    await here.pass_seconds(1)
    await here.enter(made.secret)


async def test_administration_needs_the_scope_on_a_closed_server() -> None:
    here = Entrance()

    async def administer(token: str) -> Principal:
        async def identify() -> Key:
            return await here.gate.by_token(token)

        return await here.gate.administrator(identify)

    assert await administer("anything") is ANONYMOUS
    user = await bearer_key(here.store, here.clock)
    chief = await bearer_key(here.store, here.clock, "acme", "admin")
    await here.pass_seconds(2)
    with pytest.raises(Forbidden, match="scope admin"):
        await administer(user.secret)
    assert (await administer(chief.secret)).is_admin


async def test_a_pair_gives_out_its_secret_to_whoever_checks_signatures() -> None:
    here = Entrance()
    made = await keyring(here.store, here.clock).create("acme", KeyType.PAIR)
    assert made.key.access_key is not None
    assert await here.gate.by_access_key(made.key.access_key) == (made.key, made.secret)
    await keyring(here.store, here.clock).revoke(made.key.id)
    await here.pass_seconds(2)
    with pytest.raises(Unauthenticated):
        await here.gate.by_access_key(made.key.access_key)


async def test_the_secret_of_a_pair_is_no_bearer_token() -> None:
    here = Entrance()
    made = await keyring(here.store, here.clock).create("acme", KeyType.PAIR)
    for shown in (made.secret, made.key.access_key, made.key.id):
        with pytest.raises(Unauthenticated):
            await here.enter(shown)


async def test_a_pair_sealed_by_another_server_is_our_fault_and_no_permission() -> None:
    here = Entrance()
    made = await keyring(here.store, here.clock).create("acme", KeyType.PAIR)
    stranger = Gate(here.store, Sealer(b"another secret"), here.clock, may_be_open=True)
    with pytest.raises(InternalError):
        await stranger.by_access_key(made.key.access_key or "")


async def test_a_store_that_does_not_answer_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Entrance()

    async def broken() -> bool:
        raise StorageFailed("the database does not answer")

    monkeypatch.setattr(here.store, "has_keys", broken)
    with pytest.raises(StorageFailed):
        await here.enter(None)
