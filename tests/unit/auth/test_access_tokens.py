"""Access tokens without a table: signed, expiring, good after a restart."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from diffuserve.auth import tokens
from diffuserve.auth.access_tokens import LIFETIME, AccessTokens, BadToken, ExpiredToken, Grant
from support.clock import FakeClock

pytestmark = pytest.mark.unit

PAIR = "DSAKABCDEFGHIJKLMNOP"
SECRET = b"s" * 32
NOW = FakeClock().now()


def maker(secret: bytes = SECRET, clock: FakeClock | None = None) -> AccessTokens:
    return AccessTokens(secret, clock or FakeClock())


def test_a_token_has_the_vendors_shape() -> None:
    assert re.fullmatch(rf"24\.[0-9a-f]{{32}}\.{LIFETIME}\.{int(NOW) + LIFETIME}\.1-[0-9]+", maker().issue(PAIR))
    assert re.fullmatch(r"25\.[0-9a-f]{32}\.315360000\.[0-9]+\.1-[0-9]+", maker().issue_refresh(PAIR))


def test_a_token_says_whose_it_is_also_after_a_restart() -> None:
    token = maker().issue(PAIR)
    assert maker().read(token) == Grant(PAIR, NOW + LIFETIME)


def test_every_access_key_comes_back() -> None:
    for pair in (tokens.new_access_key() for _ in range(50)):
        assert maker().read(maker().issue(pair)).access_key == pair


def test_a_token_of_an_open_server_is_nobodys() -> None:
    assert maker().read(maker().issue(None)).access_key is None


async def test_a_token_ends() -> None:
    clock = FakeClock()
    made = maker(clock=clock)
    token = made.issue(PAIR)
    await clock.advance(LIFETIME - 1)
    assert made.read(token).access_key == PAIR
    await clock.advance(1)
    with pytest.raises(ExpiredToken):
        made.read(token)


def test_a_token_of_another_secret_is_no_token() -> None:
    with pytest.raises(BadToken):
        maker(b"t" * 32).read(maker().issue(PAIR))


def test_a_refresh_token_opens_nothing_even_if_it_calls_itself_an_access_token() -> None:
    refresh = maker().issue_refresh(PAIR)
    for token in (refresh, "24" + refresh[2:]):
        with pytest.raises(BadToken):
            maker().read(token)


@pytest.mark.parametrize("token", ["", "24", "24....", "x" * 5000, "24.\x00", "二十四", "dsk_" + "0" * 43, "\ud800"])
def test_anything_else_is_no_token(token: str) -> None:
    with pytest.raises(BadToken):
        maker().read(token)


@given(st.data())
def test_no_changed_token_is_accepted(data: st.DataObject) -> None:
    token = maker().issue(data.draw(st.sampled_from([PAIR, None])))
    at, cut = data.draw(st.integers(0, len(token))), data.draw(st.integers(0, 3))
    changed = (
        token[:at] + data.draw(st.text(st.sampled_from("0123456789abcdef.-+ ٣\n"), max_size=3)) + token[at + cut :]
    )
    assume(changed != token)
    with pytest.raises(BadToken):
        maker().read(changed)


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    for token in (text, f"24.{text}", f"24.{'0' * 32}.1.1.{text}"):
        with pytest.raises(BadToken):
            maker().read(token)
