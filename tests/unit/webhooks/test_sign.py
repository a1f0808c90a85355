"""Signatures of notifications, verified by the specification's own library."""

from __future__ import annotations

import base64
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from diffuserve.webhooks import sign

pytestmark = pytest.mark.unit

SECRET = bytes(range(32))
BODY = '{"type":"job.succeeded","data":{"prompt":"ein Apfel, 一个苹果"}}'.encode()


def test_the_standard_library_accepts_the_headers() -> None:
    headers = sign.headers(SECRET, "msg_1", int(time.time()), BODY)
    assert Webhook(sign.write_secret(SECRET)).verify(BODY, headers)["type"] == "job.succeeded"


@pytest.mark.parametrize("change", [{"webhook-id": "msg_2"}, {"webhook-timestamp": str(int(time.time()) + 1)}])
def test_id_and_time_are_signed_too(change: dict[str, str]) -> None:
    headers = {**sign.headers(SECRET, "msg_1", int(time.time()), BODY), **change}
    with pytest.raises(WebhookVerificationError):
        Webhook(sign.write_secret(SECRET)).verify(BODY, headers)


def test_another_secret_is_not_accepted() -> None:
    headers = sign.headers(SECRET, "msg_1", int(time.time()), BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(sign.write_secret(SECRET[::-1])).verify(BODY, headers)


def test_the_specifications_example_comes_out() -> None:
    secret = sign.read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign.signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_is_read_as_it_was_written() -> None:
    assert sign.read_secret(sign.write_secret(SECRET)) == SECRET


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "whsec_not base64",
        base64.b64encode(SECRET).decode(),
        sign.write_secret(bytes(23)),
        sign.write_secret(bytes(65)),
    ],
)
def test_what_is_no_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="a signing secret is whsec_") as refusal:
        sign.read_secret(text)
    assert len(text) < 10 or text not in str(refusal.value)


def test_each_account_has_a_secret_of_its_own_that_stays() -> None:
    secrets = sign.SigningSecrets(b"root" * 8)
    assert secrets.of("acme") == sign.SigningSecrets(b"root" * 8).of("acme")
    assert len({secrets.of("acme"), secrets.of("other"), sign.SigningSecrets(b"toor" * 8).of("acme")}) == 3
    assert sign.read_secret(sign.write_secret(secrets.of("acme"))) == secrets.of("acme")


def test_an_operators_own_secret_signs_for_everybody() -> None:
    secrets = sign.SigningSecrets(b"root" * 8, sign.write_secret(SECRET))
    assert secrets.of("acme") == secrets.of("other") == SECRET
