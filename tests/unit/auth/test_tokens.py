"""Tokens, their hashes, and sealed secrets."""

from __future__ import annotations

import re

import pytest

from diffuserve.auth import tokens
from diffuserve.auth.secrets import BrokenSeal, Sealer

pytestmark = pytest.mark.unit


def test_a_token_says_whose_it_is_and_holds_256_random_bits() -> None:
    assert re.fullmatch(r"dsk_[A-Za-z0-9_-]{43}", tokens.new_token())
    assert len({tokens.new_token() for _ in range(100)}) == 100


def test_the_halves_of_a_pair_differ_in_their_alphabets() -> None:
    assert re.fullmatch(r"DSAK[A-Z2-7]{16}", tokens.new_access_key())
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", tokens.new_secret_key())
    assert re.fullmatch(r"key_[0-9a-f]{16}", tokens.new_key_id())


def test_a_token_is_kept_as_its_sha256() -> None:
    assert tokens.hashed("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("token", ["", "\ud800", "\x00", "key" * 10_000, "钥匙"])
def test_whatever_a_caller_sends_can_be_hashed(token: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", tokens.hashed(token))


def test_a_sealed_secret_is_read_again_after_a_restart() -> None:
    assert Sealer(b"x" * 32).unseal(Sealer(b"x" * 32).seal("secret")) == "secret"


def test_a_seal_shows_nothing_of_the_secret_and_never_twice_the_same() -> None:
    sealer = Sealer(b"x" * 32)
    one, other = sealer.seal("secret"), sealer.seal("secret")
    assert one != other
    assert b"secret" not in one


def test_a_seal_opens_with_its_own_secret_only() -> None:
    with pytest.raises(BrokenSeal):
        Sealer(b"y" * 32).unseal(Sealer(b"x" * 32).seal("secret"))


@pytest.mark.parametrize("position", [0, 10, -1])
def test_a_changed_seal_does_not_open(position: int) -> None:
    sealer = Sealer(b"x" * 32)
    sealed = bytearray(sealer.seal("secret"))
    sealed[position] ^= 1
    with pytest.raises(BrokenSeal):
        sealer.unseal(bytes(sealed))
