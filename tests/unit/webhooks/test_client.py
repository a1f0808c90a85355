"""One call to a receiver: a scripted network for what it may reach, a real one for how it answers."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from diffuserve.webhooks.client import MAX_ANSWER, Answer, Client, NotReached
from support.receiver import answer, receiving
from support.wire import Names, Wire

pytestmark = pytest.mark.unit

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
NAMES = {
    "example.org": ["93.184.215.14"],
    "inside.example": ["10.1.2.3"],
    "both.example": ["93.184.215.14", "127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "mapped.example": ["::ffff:127.0.0.1"],
}


def client(wire: Wire) -> Client:
    return Client(backend=Names(wire, NAMES))


async def test_the_address_that_was_checked_is_the_one_called() -> None:
    wire = Wire(OK)
    assert (await client(wire).post("http://example.org/done", {}, b"{}")).status == 204
    assert wire.addresses == ["93.184.215.14"]


@pytest.mark.parametrize(
    "host",
    [
        "inside.example",
        "both.example",
        "metadata.example",
        "mapped.example",
        "127.0.0.1",
        "2130706433",
        "127.1",
        "[::1]",
        "localhost",
    ],
)
async def test_names_that_lead_inside_are_not_called(host: str) -> None:
    wire = Wire()
    with pytest.raises(NotReached, match=r"has no public address|could not be reached"):
        await client(wire).post(f"http://{host}/done", {}, b"{}")
    assert wire.addresses == []


async def test_every_call_looks_at_the_address_anew() -> None:
    wire = Wire(OK)
    names = Names(wire, {"turning.example": ["93.184.215.14"]})
    calling = Client(backend=names)
    await calling.post("http://turning.example/", {}, b"{}")
    names.names["turning.example"] = ["127.0.0.1"]
    with pytest.raises(NotReached, match="has no public address"):
        await calling.post("http://turning.example/", {}, b"{}")


async def test_a_redirect_is_an_answer_and_nobody_goes_there() -> None:
    wire = Wire(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://inside.example/\r\nContent-Length: 0\r\n\r\n")
    assert (await client(wire).post("http://example.org/", {}, b"{}")).status == 307
    assert wire.addresses == ["93.184.215.14"]


@pytest.mark.parametrize("reply", [b"", b"garbage\r\n\r\n"])
async def test_what_is_no_http_was_not_reached(reply: bytes) -> None:
    with pytest.raises(NotReached, match="could not be reached"):
        await client(Wire(reply)).post("http://example.org/", {}, b"{}")


async def test_headers_and_body_arrive_as_they_are() -> None:
    async with receiving() as receiver:
        assert await Client(allow_private=True).post(receiver.url, {"X-Test": "1"}, "äpfel".encode()) == Answer(204)
        call = await receiver.call()
        assert (call.method, call.path, call.body.decode(), call.headers["x-test"]) == ("POST", "/done", "äpfel", "1")
        assert call.headers["user-agent"].startswith("diffuserve/")


async def test_a_receiver_that_never_answers_is_left() -> None:
    async with receiving(always=None) as receiver:
        with pytest.raises(NotReached, match=r"did not answer within 0.1 seconds"):
            await Client(allow_private=True, timeout=0.1).post(receiver.url, {}, b"{}")


async def test_a_receiver_that_does_not_stop_talking_has_answered() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * (MAX_ANSWER * 4)
    async with receiving(always=endless) as receiver:
        assert (await Client(allow_private=True).post(receiver.url, {}, b"{}")).status == 200


async def test_an_answer_counts_though_its_body_breaks_off() -> None:
    broken = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    async with receiving(always=broken) as receiver:
        assert (await Client(allow_private=True, timeout=0.2).post(receiver.url, {}, b"{}")).status == 200


def self_signed(folder: Path) -> ssl.SSLContext:
    """A receiver's TLS with a certificate for 127.0.0.1 that nobody vouches for; it lies in `folder`/certificate.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


async def test_a_receiver_whose_certificate_nobody_vouches_for_is_told_nothing(tmp_path: Path) -> None:
    async with receiving(tls=self_signed(tmp_path)) as receiver:
        with pytest.raises(NotReached, match="could not be reached"):
            await Client(allow_private=True).post(receiver.url.replace("http:", "https:"), {}, b"{}")
        assert receiver.calls.empty()


async def test_a_receiver_with_a_good_certificate_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(tls=self_signed(tmp_path)) as receiver:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        assert (await Client(allow_private=True).post(receiver.url.replace("http:", "https:"), {}, b"{}")).status == 204


@pytest.mark.parametrize(("value", "seconds"), [("120", 120.0), ("soon", None), ("-1", None), ("9" * 40, 999999999.0)])
async def test_a_pause_that_the_receiver_asks_for_is_read(value: str, seconds: float | None) -> None:
    async with receiving(answer(503, f"Retry-After: {value}")) as receiver:
        assert await Client(allow_private=True).post(receiver.url, {}, b"{}") == Answer(503, seconds)
