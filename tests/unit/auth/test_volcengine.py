"""Volcengine's signature, stage by stage against vectors of the vendor's own SDKs, and fuzzed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from diffuserve.auth import volcengine
from diffuserve.auth.volcengine import Fault, Message, Refused

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parent / "vectors" / "volcengine"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@dataclass(frozen=True)
class Vector:
    """One file: a signed request and each stage of its signature."""

    name: str
    secret: str
    now: float
    message: Message
    body: bytes
    stages: dict[str, Any]

    @staticmethod
    def of(path: Path) -> Vector:
        data = json.loads(path.read_text())
        headers = [(name.lower(), value) for name, value in data["headers"]]
        message = Message(data["method"], data["path"], volcengine.decoded_query(data["query"]), headers)
        return Vector(path.stem, data["secret_key"], data["now"], message, data["body"].encode(), data)

    def check(self, message: Message | None = None, body: bytes | None = None, now: float | None = None) -> None:
        """Verify the vector, or what a test has made of it. Raises Refused."""
        message = message or self.message
        claim = volcengine.read_claim(message)
        volcengine.check_time(claim, message, self.now if now is None else now)
        body_hash = volcengine.sha256(self.body if body is None else body)
        volcengine.verify(claim, message, body_hash, self.secret)

    @property
    def presigned(self) -> bool:
        return self.name.startswith("presigned")


VECTORS = {path.stem: Vector.of(path) for path in sorted(FOLDER.glob("*.json"))}
PYTHON, NODE, LINK = VECTORS["python"], VECTORS["node"], VECTORS["presigned_python"]


def fault(vector: Vector, message: Message | None = None, **changed: Any) -> Fault:
    with pytest.raises(Refused) as caught:
        vector.check(message, **changed)
    return caught.value.fault


def with_header(message: Message, name: str, value: str | None) -> Message:
    """Changed, added, or (None) taken away."""
    others = [(key, kept) for key, kept in message.headers if key != name]
    return replace(message, headers=others if value is None else [*others, (name, value)])


def with_parameter(message: Message, name: str, value: str | None) -> Message:
    others = [(key, kept) for key, kept in message.query if key != name]
    return replace(message, query=others if value is None else [*others, (name, value)])


def with_authorization(message: Message, old: str, new: str) -> Message:
    header = message.header("authorization") or ""
    assert old in header
    return with_header(message, "authorization", header.replace(old, new))


def test_there_are_vectors() -> None:
    assert len(VECTORS) >= 10


@pytest.mark.parametrize("vector", VECTORS.values(), ids=lambda v: v.name)
class TestStages:
    def test_the_canonical_request_is_among_those_that_are_tried(self, vector: Vector) -> None:
        claim = volcengine.read_claim(vector.message)
        body_hash = EMPTY if vector.presigned else volcengine.sha256(vector.body)
        tried = [
            volcengine.canonical_request(vector.message, claim, query, body_hash)
            for query in volcengine.canonical_queries(claim, vector.message)
        ]
        assert "\n".join(vector.stages["canonical_request"]) in tried
        assert vector.stages["canonical_request_sha256"] in [volcengine.sha256(one.encode()) for one in tried]

    def test_the_string_to_sign(self, vector: Vector) -> None:
        canonical = "\n".join(vector.stages["canonical_request"])
        found = volcengine.string_to_sign(volcengine.read_claim(vector.message), canonical)
        assert found.split("\n") == vector.stages["string_to_sign"]

    def test_the_signing_key(self, vector: Vector) -> None:
        credential = volcengine.read_claim(vector.message).credential
        assert volcengine.signing_key(vector.secret, credential).hex() == vector.stages["signing_key"]

    def test_the_signature(self, vector: Vector) -> None:
        canonical = "\n".join(vector.stages["canonical_request"])
        claim = volcengine.read_claim(vector.message)
        assert volcengine.signature(vector.secret, claim, canonical) == vector.stages["signature"]

    def test_it_is_accepted(self, vector: Vector) -> None:
        assert volcengine.is_signed(vector.message)
        assert volcengine.read_claim(vector.message).presigned == vector.presigned
        vector.check()

    def test_another_secret_is_refused(self, vector: Vector) -> None:
        assert fault(replace(vector, secret=vector.secret + "x")) is Fault.SIGNATURE_DOES_NOT_MATCH

    def test_it_is_good_for_a_quarter_of_an_hour_in_both_directions(self, vector: Vector) -> None:
        for seconds in (-900, 900):
            vector.check(now=vector.now + seconds)
        for seconds in (-901, 901, 86_400):
            assert fault(vector, now=vector.now + seconds) is Fault.INVALID_TIMESTAMP


# The canonical request


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("b=2&a=1", "a=1&b=2"),
        ("a", "a="),
        ("a=x+y&b=x%20y", "a=x%20y&b=x%20y"),
        ("a=%7e-_.~%2f", "a=~-_.~%2F"),
        ("a=2&a=1", "a=2&a=1"),
        ("%E4%BD%A0=%e5%a5%bd", "%E4%BD%A0=%E5%A5%BD"),
        ("a=%ff", "a=%FF"),
        ("", ""),
    ],
)
def test_the_query_is_decoded_and_encoded_again(query: str, canonical: str) -> None:
    assert volcengine.canonical_query(volcengine.decoded_query(query)) == canonical


@pytest.mark.parametrize(
    ("path", "canonical"), [("", "/"), ("/", "/"), ("/a b/你", "/a%20b/%E4%BD%A0"), ("/~x+", "/~x%2B")]
)
def test_the_path_is_encoded_segment_by_segment(path: str, canonical: str) -> None:
    assert volcengine.canonical_uri(path) == canonical


def test_values_of_headers_are_trimmed_and_folded_and_two_ports_go_without_saying() -> None:
    headers = [("x-a", "  one \t two  "), ("host", "h:443"), ("x-b", "1"), ("x-b", "2")]
    message = Message("POST", "/", [], headers)
    assert volcengine.canonical_headers(message, ["x-b", "x-a", "host"]) == "host:h\nx-a:one two\nx-b:1,2\n"
    for host in ("h:8443", "[::1]:8080", "h"):
        assert volcengine.canonical_headers(replace(message, headers=[("host", host)]), ["host"]) == f"host:{host}\n"


# What is refused, and in which words


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Credential=", "Credentials=", Fault.INVALID_AUTHORIZATION),
        ("SignedHeaders=", "Headers=", Fault.INVALID_AUTHORIZATION),
        (", Signature=", " Signature ", Fault.MISSING_SIGNATURE),
        (", Signature=", ", Sign=", Fault.MISSING_SIGNATURE),
        (", Signature=", ", ", Fault.INVALID_AUTHORIZATION),
        ("/request", "", Fault.INVALID_CREDENTIAL),
        ("/request", "/aws4_request", Fault.INVALID_CREDENTIAL),
        ("/cv/", "/", Fault.INVALID_CREDENTIAL),
        ("/cv/", "//", Fault.MISSING_REQUEST_INFO),
        ("AKLTexampleKeyId0001/", "/", Fault.MISSING_REQUEST_INFO),
        ("/20250115/", "/20250116/", Fault.INVALID_TIMESTAMP),
        ("/cn-north-1/", "/cn-south-1/", Fault.SIGNATURE_DOES_NOT_MATCH),
        ("x-date", "x-dates", Fault.SIGNATURE_DOES_NOT_MATCH),
        ("Signature=0", "Signature=é", Fault.SIGNATURE_DOES_NOT_MATCH),
    ],
)
def test_each_fault_of_the_header_has_its_name(old: str, new: str, expected: Fault) -> None:
    assert fault(PYTHON, with_authorization(PYTHON.message, old, new)) is expected


def test_blanks_in_the_header_do_not_matter() -> None:
    for old, new in ((", ", ",   "), ("=", " = "), (", ", ",")):
        PYTHON.check(with_authorization(PYTHON.message, old, new))


@pytest.mark.parametrize(
    "date", ["2025-01-15T08:30:00Z", "20250115T083000", "20251315T083000Z", "20250115T083060Z", "٢٠٢٥٠١١٥T083000Z"]
)
def test_a_date_that_is_none_is_refused(date: str) -> None:
    message = with_authorization(PYTHON.message, "/20250115/", f"/{date[:8]}/")
    assert fault(PYTHON, with_header(message, "x-date", date)) is Fault.INVALID_TIMESTAMP


def test_a_request_without_a_date_lacks_information() -> None:
    assert fault(PYTHON, with_header(PYTHON.message, "x-date", None)) is Fault.MISSING_REQUEST_INFO
    assert fault(LINK, with_parameter(LINK.message, "X-Date", None)) is Fault.MISSING_REQUEST_INFO


def test_the_date_must_be_among_the_signed_headers() -> None:
    # Signed rightly, but for the rule.
    message = with_authorization(NODE.message, "x-content-sha256;x-date", "x-content-sha256")
    claim = volcengine.read_claim(message)
    body_hash = volcengine.sha256(NODE.body)
    query = next(volcengine.canonical_queries(claim, message))
    signed = volcengine.signature(NODE.secret, claim, volcengine.canonical_request(message, claim, query, body_hash))
    forged = with_authorization(message, claim.signature, signed)
    assert fault(NODE, forged) is Fault.SIGNATURE_DOES_NOT_MATCH


def test_the_announced_hash_must_be_that_of_the_body() -> None:
    message = with_header(PYTHON.message, "x-content-sha256", EMPTY)
    assert fault(PYTHON, message) is Fault.SIGNATURE_DOES_NOT_MATCH
    assert fault(PYTHON, body=PYTHON.body + b" ") is Fault.SIGNATURE_DOES_NOT_MATCH


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("X-Algorithm", "HMAC-SHA1", Fault.INVALID_AUTHORIZATION),
        ("X-Credential", "", Fault.MISSING_REQUEST_INFO),
        ("X-Credential", "a/b", Fault.INVALID_CREDENTIAL),
        ("X-Signature", "", Fault.MISSING_SIGNATURE),
        ("X-SignedQueries", "", Fault.SIGNATURE_DOES_NOT_MATCH),
        ("Action", "CVCancelTask", Fault.SIGNATURE_DOES_NOT_MATCH),
    ],
)
def test_each_fault_of_a_presigned_request_has_its_name(name: str, value: str, expected: Fault) -> None:
    assert fault(LINK, with_parameter(LINK.message, name, value)) is expected


def test_a_presigned_body_is_not_signed() -> None:
    LINK.check(body=b"anything")


def signed_link(listed: str, **extra: str) -> Vector:
    """A presigned request of our own making that signs what `listed` names."""
    query = {**dict(LINK.message.query), "X-SignedQueries": listed, **extra}
    message = replace(LINK.message, query=list(query.items()))
    claim = volcengine.read_claim(message)
    canonical = volcengine.canonical_request(message, claim, next(volcengine.canonical_queries(claim, message)), EMPTY)
    signature = volcengine.signature(LINK.secret, claim, canonical)
    return replace(LINK, message=with_parameter(message, "X-Signature", signature))


def test_a_presigned_request_must_say_for_which_action() -> None:
    signed_link("Action;Version").check()
    for listed in ("Action", "Version", "X-Date"):
        assert fault(signed_link(listed)) is Fault.SIGNATURE_DOES_NOT_MATCH


def test_x_expires_changes_the_lifetime_only_where_it_is_signed() -> None:
    long = signed_link("Action;Version;X-Expires", **{"X-Expires": "3600"})
    long.check(now=LINK.now + 3600)
    assert fault(long, now=LINK.now + 3601) is Fault.INVALID_TIMESTAMP
    short = signed_link("Action;Version;X-Expires", **{"X-Expires": "60"})
    assert fault(short, now=LINK.now + 61) is Fault.INVALID_TIMESTAMP
    assert fault(short, now=LINK.now - 901) is Fault.INVALID_TIMESTAMP
    added = with_parameter(LINK.message, "X-Expires", "3600")
    LINK.check(added)
    assert fault(LINK, added, now=LINK.now + 901) is Fault.INVALID_TIMESTAMP


@pytest.mark.parametrize("value", ["0", "-1", "x", "1e3", "604801", "9" * 50, ""])
def test_an_x_expires_that_is_no_lifetime_is_refused(value: str) -> None:
    assert fault(signed_link("Action;Version;X-Expires", **{"X-Expires": value})) is Fault.INVALID_TIMESTAMP


def test_a_session_token_is_compared_wherever_it_stands() -> None:
    token = "STSexampleSessionToken0001"
    volcengine.check_token(VECTORS["python_token"].message, token)
    volcengine.check_token(VECTORS["presigned_python_token"].message, token)
    for message in (PYTHON.message, with_header(PYTHON.message, "x-security-token", token + "x")):
        with pytest.raises(Refused) as caught:
            volcengine.check_token(message, token)
        assert caught.value.fault is Fault.INVALID_SECRET_TOKEN


def test_other_ways_to_show_a_key_are_not_taken_for_signatures() -> None:
    for authorization in ("Bearer dsk_x", "Basic eA==", "", "hmac-sha256 x"):
        assert not volcengine.is_signed(Message("POST", "/", [], [("authorization", authorization)]))


# Fuzz

HEADER_FORM = [vector for vector in VECTORS.values() if not vector.presigned]
Mutation = Callable[[Vector], tuple[Message, bytes]]


def changed(original: str, other: str) -> str:
    """`other`, which must be something else, also once blanks are folded and ports dropped."""
    assume(" ".join(other.split()) != " ".join(original.split()))
    return other


@given(st.data())
def test_no_change_of_what_is_signed_is_accepted(data: st.DataObject) -> None:
    vector = data.draw(st.sampled_from(list(VECTORS.values())))
    message, body, claim = vector.message, vector.body, volcengine.read_claim(vector.message)
    text = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=20)
    targets = ["method", "path", "signature", "parameter", "repeat"]
    if not vector.presigned:
        targets += ["body", "new parameter"]
    if claim.signed_headers:
        targets += ["header", "take header"]
    target = data.draw(st.sampled_from(targets))
    listed = None if claim.signed_queries is None else {*claim.signed_queries}
    signed = [pair for pair in message.query if listed is None or pair[0] in listed]
    if target == "method":
        message = replace(message, method=data.draw(st.sampled_from(["GET", "PUT", "post2", ""])))
    elif target == "path":
        message = replace(message, path="/" + data.draw(text.filter(bool)))
    elif target == "signature":
        at = data.draw(st.integers(0, 63))
        digit = data.draw(st.sampled_from("0123456789abcdefABCDEFg"))
        assume(digit != claim.signature[at])
        forged = claim.signature[:at] + digit + claim.signature[at + 1 :]
        swap = with_parameter(message, "X-Signature", forged) if vector.presigned else None
        message = swap or with_authorization(message, claim.signature, forged)
    elif target in ("parameter", "repeat"):
        name, value = data.draw(st.sampled_from(signed))
        new = data.draw(text)
        if target == "parameter":
            assume(new != value)
            message = with_parameter(message, name, new)
        else:
            message = replace(message, query=[*message.query, (name, new)])
    elif target == "new parameter":
        message = replace(message, query=[*message.query, (data.draw(text), data.draw(text))])
    elif target == "body":
        body = data.draw(st.binary(max_size=200))
        assume(body != vector.body)
    else:
        name = data.draw(st.sampled_from(claim.signed_headers))
        value = message.header(name) or ""
        new = None if target == "take header" else changed(value, data.draw(text))
        assume(name != "host" or new not in ("localhost", "localhost:443"))
        message = with_header(message, name, new)
    with pytest.raises(Refused):
        vector.check(message, body)


@given(
    st.lists(st.tuples(st.sampled_from(["authorization", "x-date", "x-content-sha256", "host"]), st.text(max_size=80))),
    st.text(max_size=200),
)
def test_whatever_comes_nothing_but_a_refusal_is_raised(headers: list[tuple[str, str]], query: str) -> None:
    message = Message("POST", "/", volcengine.decoded_query(query), headers)
    volcengine.is_signed(message)
    for start in ("", "HMAC-SHA256 "):
        tried = with_header(message, "authorization", start + (message.header("authorization") or ""))
        with pytest.raises(Refused):
            PYTHON.check(tried)


@given(st.dictionaries(st.sampled_from([name for name, _ in LINK.message.query]), st.text(max_size=40), min_size=1))
def test_whatever_stands_in_a_presigned_query_nothing_but_a_refusal_is_raised(values: dict[str, str]) -> None:
    query = {**dict(LINK.message.query), **values}
    assume(query != dict(LINK.message.query))
    sent = volcengine.decoded_query(urlencode(query, errors="replace", quote_via=quote))
    assume(sent != list(LINK.message.query))
    with pytest.raises(Refused):
        LINK.check(replace(LINK.message, query=sent))
