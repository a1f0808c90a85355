"""Making, replacing and revoking keys."""

from __future__ import annotations

from typing import Any

import pytest

from diffuserve.auth import Keyring, tokens
from diffuserve.core.account import KeyLimits, KeyType
from diffuserve.core.errors import InvalidParameter
from support.accounts import MemoryAccounts, keyring
from support.clock import FakeClock

pytestmark = pytest.mark.unit


@pytest.fixture
def store() -> MemoryAccounts:
    return MemoryAccounts()


@pytest.fixture
def ring(store: MemoryAccounts) -> Keyring:
    return keyring(store, FakeClock())


async def test_a_token_is_stored_as_its_hash_only(store: MemoryAccounts, ring: Keyring) -> None:
    made = await ring.create("acme", KeyType.BEARER)
    ((key, token_hash, sealed),) = store.rows
    assert (key, token_hash, sealed) == (made.key, tokens.hashed(made.secret), None)
    assert made.secret not in repr(store.rows)


async def test_the_secret_of_a_pair_is_stored_sealed_only(store: MemoryAccounts, ring: Keyring) -> None:
    made = await ring.create("acme", KeyType.PAIR)
    ((key, token_hash, sealed),) = store.rows
    assert (key.access_key, token_hash) == (made.key.access_key, None)
    assert sealed is not None
    assert made.secret not in repr(store.rows)


async def test_a_new_key_does_not_show_its_secret_by_accident(ring: Keyring) -> None:
    made = await ring.create("acme", KeyType.BEARER)
    assert made.secret not in f"{made} {made!r}"


async def test_a_rotated_key_keeps_everything_but_its_secret(store: MemoryAccounts, ring: Keyring) -> None:
    limits = KeyLimits(requests_per_second=2)
    old = await ring.create("acme", KeyType.PAIR, scopes=frozenset({"admin"}), limits=limits, priority=7)
    new = await ring.rotate(old.key.id)
    assert (new.key.account, new.key.type, new.key.scopes, new.key.limits, new.key.priority) == (
        "acme",
        KeyType.PAIR,
        {"admin"},
        limits,
        7,
    )
    assert new.secret != old.secret
    assert [key.id for key in await store.keys() if key.revoked_at is None] == [new.key.id]


async def test_there_is_a_valid_key_at_every_moment_of_a_rotation(
    store: MemoryAccounts, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await ring.create("acme", KeyType.BEARER)
    revoke = store.revoke_key
    seen: list[int] = []

    async def counted(key_id: str, now: float) -> bool:
        seen.append(sum(key.revoked_at is None for key in await store.keys()))
        return await revoke(key_id, now)

    monkeypatch.setattr(store, "revoke_key", counted)
    await ring.rotate(old.key.id)
    assert seen == [2]


async def test_two_rotations_at_once_leave_one_key(
    store: MemoryAccounts, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await ring.create("acme", KeyType.BEARER)
    add = store.add_key

    async def overtaken(*args: Any, **named: Any) -> None:
        await add(*args, **named)
        monkeypatch.undo()
        await ring.rotate(old.key.id)

    monkeypatch.setattr(store, "add_key", overtaken)
    with pytest.raises(InvalidParameter, match="valid key"):
        await ring.rotate(old.key.id)
    assert sum(key.revoked_at is None for key in await store.keys()) == 1


ADDRESS = "0x6fd5a1b2c3"
SCOPED = frozenset({"dialect:ipollo"})


async def test_a_text_can_be_made_a_key(store: MemoryAccounts, ring: Keyring) -> None:
    made = await ring.create("acme", KeyType.BEARER, scopes=SCOPED, token=ADDRESS)
    ((key, token_hash, _),) = store.rows
    assert (made.secret, key, token_hash) == (ADDRESS, made.key, tokens.hashed(ADDRESS))
    assert (await ring.rotate(made.key.id)).secret.startswith("dsk_")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scopes": frozenset()}, "scope must be dialect:NAME"),
        ({"scopes": frozenset({"model:x"})}, "scope must be dialect:NAME"),
        ({"scopes": SCOPED | {"admin"}}, "scope must be dialect:NAME, and not admin"),
        ({"token": "short"}, "token must be 8 to 200"),
        ({"token": "x" * 201}, "token must be 8 to 200"),
        ({"token": "with a blank"}, "token must be 8 to 200"),
        ({"token": "钱包地址钱包地址"}, "token must be 8 to 200"),
        ({"token": "dsk_" + "x" * 43}, "do not begin with dsk_"),
        ({"kind": KeyType.PAIR}, "token must be absent"),
    ],
)
async def test_a_text_that_others_may_know_opens_little(ring: Keyring, changes: dict[str, Any], words: str) -> None:
    wanted: dict[str, Any] = {"kind": KeyType.BEARER, "scopes": SCOPED, "token": ADDRESS, **changes}
    with pytest.raises(InvalidParameter, match=words):
        await ring.create("acme", **wanted)


async def test_one_text_is_one_key(ring: Keyring) -> None:
    await ring.create("acme", KeyType.BEARER, scopes=SCOPED, token=ADDRESS)
    with pytest.raises(InvalidParameter, match="a text that is no key yet"):
        await ring.create("globex", KeyType.BEARER, scopes=SCOPED, token=ADDRESS)


@pytest.mark.parametrize("operation", ["rotate", "revoke"])
async def test_a_key_that_is_not_there_or_revoked_is_told(ring: Keyring, operation: str) -> None:
    made = await ring.create("acme", KeyType.BEARER)
    await ring.revoke(made.key.id)
    for key_id in (made.key.id, "key_0", ""):
        with pytest.raises(InvalidParameter, match="diffuserve keys list"):
            await getattr(ring, operation)(key_id)


@pytest.mark.parametrize("account", ["", "a b", "a/b", "a" * 101, "账户", "a\n"])
async def test_an_account_has_a_plain_name(ring: Keyring, account: str) -> None:
    with pytest.raises(InvalidParameter, match="account must be"):
        await ring.create(account, KeyType.BEARER)


@pytest.mark.parametrize("scope", ["", "root", "dialect:", "model:a b", "admin\n", "Admin", "dialect"])
async def test_a_scope_is_of_a_known_kind(ring: Keyring, scope: str) -> None:
    with pytest.raises(InvalidParameter, match="dialect:NAME, model:NAME or admin"):
        await ring.create("acme", KeyType.BEARER, scopes=frozenset({scope}))


@pytest.mark.parametrize(
    "limits",
    [
        KeyLimits(requests_per_second=0),
        KeyLimits(requests_per_second=float("nan")),
        KeyLimits(requests_per_second=float("inf")),
        KeyLimits(requests_per_day=0),
        KeyLimits(concurrent_jobs=-1),
    ],
)
async def test_a_limit_that_allows_nothing_is_no_limit(ring: Keyring, limits: KeyLimits) -> None:
    with pytest.raises(InvalidParameter):
        await ring.create("acme", KeyType.BEARER, limits=limits)


async def test_a_priority_has_its_range(ring: Keyring) -> None:
    with pytest.raises(InvalidParameter, match="between -100 and 100"):
        await ring.create("acme", KeyType.BEARER, priority=101)
