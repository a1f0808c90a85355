"""bce-auth-v1, stage by stage against vectors of the vendor's own signer, and fuzzed."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from diffuserve.auth import bce
from diffuserve.auth.bce import Authorization, BadSignature, Fault, SignedRequest

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parent / "vectors" / "bce"


@dataclass(frozen=True)
class Vector:
    """One file: a signed request and each stage of its signature."""

    name: str
    secret_key: str
    now: float
    request: SignedRequest
    authorization: str
    canonical_request: str
    signing_key: str
    signature: str

    @staticmethod
    def of(path: Path) -> Vector:
        data: dict[str, Any] = json.loads(path.read_text())
        headers = [(name.lower(), value) for name, value in data["headers"]]
        request = SignedRequest(data["method"], data["path"], [tuple(pair) for pair in data["query"]], headers)
        canonical = "\n".join(data["canonical_request"])
        stages = canonical, data["signing_key"], data["signature"]
        return Vector(path.stem, data["secret_key"], data["now"], request, data["authorization"], *stages)

    def check(self, request: SignedRequest | None = None, header: str | None = None, now: float | None = None) -> None:
        """Verify the vector, or what a test has made of it. Raises BadSignature."""
        authorization = bce.read(self.authorization if header is None else header)
        bce.check_time(authorization, self.now if now is None else now)
        bce.verify(request or self.request, authorization, self.secret_key)


VECTORS = [Vector.of(path) for path in sorted(FOLDER.glob("*.json"))]
PYTHON = next(vector for vector in VECTORS if vector.name == "python_sdk")
QUERY = next(vector for vector in VECTORS if vector.name == "query")


def fault(vector: Vector, **changed: Any) -> Fault:
    with pytest.raises(BadSignature) as caught:
        vector.check(**changed)
    return caught.value.fault


def with_header(request: SignedRequest, name: str, value: str) -> SignedRequest:
    return replace(request, headers=[(n, value if n == name else v) for n, v in request.headers])


def test_there_are_vectors() -> None:
    assert len(VECTORS) >= 8


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v.name)
class TestStages:
    def test_the_canonical_request_is_among_those_that_are_tried(self, vector: Vector) -> None:
        assert vector.canonical_request in list(bce.readings(vector.request, bce.read(vector.authorization), ""))

    def test_the_signing_key(self, vector: Vector) -> None:
        assert bce.signing_key(vector.secret_key, bce.read(vector.authorization).prefix) == vector.signing_key

    def test_the_signature(self, vector: Vector) -> None:
        assert bce.signature(vector.signing_key, vector.canonical_request) == vector.signature

    def test_the_whole_request_is_accepted(self, vector: Vector) -> None:
        vector.check()

    def test_another_secret_is_not(self, vector: Vector) -> None:
        assert fault(replace(vector, secret_key=vector.secret_key + "x")) is Fault.MISMATCH

    @pytest.mark.parametrize(
        ("change", "value"), [("method", "PUT"), ("path", "/rpc"), ("query", [("model", "other")])]
    )
    def test_another_method_path_or_query_is_not(self, vector: Vector, change: str, value: Any) -> None:
        assert fault(vector, request=replace(vector.request, **{change: value})) is Fault.MISMATCH


def test_the_likeliest_reading_comes_first() -> None:
    assert next(bce.readings(PYTHON.request, bce.read(PYTHON.authorization), "")) == PYTHON.canonical_request


def test_headers_that_are_not_signed_may_change_on_their_way() -> None:
    more = [*PYTHON.request.headers, ("via", "1.1 proxy"), ("user-agent", "other")]
    PYTHON.check(request=replace(PYTHON.request, headers=more))


def test_parameters_may_come_in_any_order() -> None:
    QUERY.check(request=replace(QUERY.request, query=list(reversed(QUERY.request.query))))


def test_a_signed_header_that_comes_twice_is_refused() -> None:
    twice = [*PYTHON.request.headers, ("request_id", "other")]
    assert fault(PYTHON, request=replace(PYTHON.request, headers=twice)) is Fault.MISMATCH


def test_a_signed_header_that_was_dropped_on_its_way_is_named() -> None:
    dropped = [pair for pair in PYTHON.request.headers if pair[0] != "request_id"]
    with pytest.raises(BadSignature, match="did not arrive"):
        PYTHON.check(request=replace(PYTHON.request, headers=dropped))


def test_a_name_that_was_not_signed_cannot_be_added_to_the_list() -> None:
    header = PYTHON.authorization.replace("content-type;", "content-type;x-other;")
    assert fault(PYTHON, header=header) is Fault.MISMATCH


def test_a_new_x_bce_header_that_nobody_signed_is_not_in_the_signature_unless_it_was() -> None:
    more = replace(PYTHON.request, headers=[*PYTHON.request.headers, ("x-bce-security-token", "t")])
    PYTHON.check(request=more)
    named = PYTHON.authorization.replace("content-type;", "content-type;x-bce-security-token;")
    assert fault(PYTHON, request=more, header=named) is Fault.MISMATCH


def test_a_path_below_a_mount_may_be_signed_without_it() -> None:
    request = replace(PYTHON.request, path="/qianfan" + PYTHON.request.path)
    bce.verify(request, bce.read(PYTHON.authorization), PYTHON.secret_key, mount="/qianfan")
    with pytest.raises(BadSignature):
        bce.verify(request, bce.read(PYTHON.authorization), PYTHON.secret_key, mount="/other")


# Time


def test_a_signature_holds_for_as_long_as_it_says_and_no_longer() -> None:
    PYTHON.check(now=PYTHON.now + 300)
    assert fault(PYTHON, now=PYTHON.now + 300.5) is Fault.EXPIRED


def test_a_clock_may_be_a_quarter_of_an_hour_ahead() -> None:
    PYTHON.check(now=PYTHON.now - 900)
    assert fault(PYTHON, now=PYTHON.now - 901) is Fault.EXPIRED


def test_a_longer_life_cannot_be_had_without_signing_it() -> None:
    header = PYTHON.authorization.replace("/300/", "/30000/")
    assert fault(PYTHON, header=header, now=PYTHON.now + 301) is Fault.MISMATCH


# Headers that cannot be read


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bce-auth-v1",
        "bce-auth-v1/////",
        PYTHON.authorization + "/x",
        PYTHON.authorization.replace("v1", "v2"),
        PYTHON.authorization.upper(),
        PYTHON.authorization.replace("2025-01-15T", "2025-01-15 "),
        PYTHON.authorization.replace("2025-01-15", "2025-02-30"),
        PYTHON.authorization.replace("2025-01-15", "0000-01-15"),
        PYTHON.authorization.replace("/300/", "/0300/"),
        PYTHON.authorization.replace("/300/", "/-1/"),
        PYTHON.authorization.replace("/300/", "/٣٠٠/"),
        PYTHON.authorization.replace("/300/", "/3e2/"),
        PYTHON.authorization.replace("content-type;", "content-type;;"),
        PYTHON.authorization.replace("content-type;", "content type;"),
        PYTHON.authorization[:-1],
        PYTHON.authorization[:-1] + "g",
        PYTHON.authorization[:-64] + PYTHON.signature.upper(),
        "bce-auth-v1/" + "A" * 3000,
    ],
)
def test_what_is_no_such_header_is_unreadable(header: str) -> None:
    assert fault(PYTHON, header=header) is Fault.UNREADABLE


@pytest.mark.parametrize(
    ("header", "meant"),
    [("bce-auth-v1/x", True), ("  BCE-AUTH-V1 x", True), ("Bearer bce-auth-v1", False), ("", False)],
)
def test_the_scheme_is_known_by_its_name(header: str, meant: bool) -> None:
    assert bce.is_bce(header) is meant


# Fuzzed

text = st.text(max_size=30)
anything = st.text(st.characters(), max_size=300)


@given(anything)
def test_no_header_makes_anything_but_an_authorization_or_a_bad_signature(header: str) -> None:
    for one in (header, f"bce-auth-v1/{header}", f"bce-auth-v1/A/2025-01-15T08:30:00Z/300/{header}"):
        try:
            assert isinstance(bce.read(one), Authorization)
        except BadSignature as bad:
            assert bad.fault is Fault.UNREADABLE


@given(st.data())
def test_no_changed_authorization_header_is_accepted(data: st.DataObject) -> None:
    vector = data.draw(st.sampled_from(VECTORS))
    at = data.draw(st.integers(0, len(vector.authorization) - 1))
    cut = data.draw(st.integers(0, 3))
    put = data.draw(st.text(st.sampled_from("0123456789abcdefABCXYZ/;-_:TZ. é\x00"), max_size=3))
    header = vector.authorization[:at] + put + vector.authorization[at + cut :]
    try:
        changed, original = bce.read(header), bce.read(vector.authorization)
    except BadSignature:
        return
    # The list of signed headers is a set, and x-bce-* belong to it with or without being listed.
    bce_headers = frozenset(name for name, _ in vector.request.headers if name.startswith(bce.BCE_PREFIX))
    sets = [(one.signed_headers or bce.DEFAULT_HEADERS) | bce_headers for one in (changed, original)]
    present = frozenset(name for name, _ in vector.request.headers)
    same = sets[0] & present == sets[1] & present
    assume(not (same and changed.prefix == original.prefix and changed.signature == original.signature))
    with pytest.raises(BadSignature):
        vector.check(header=header, now=changed.signed_at)


@given(st.data())
def test_no_changed_request_is_accepted(data: st.DataObject) -> None:
    vector = data.draw(st.sampled_from(VECTORS))
    request = vector.request
    signed = bce.read(vector.authorization).signed_headers or bce.DEFAULT_HEADERS
    part = data.draw(st.sampled_from(["method", "path", "query", "headers"]))
    if part == "method":
        changed = replace(request, method=data.draw(text))
    elif part == "path":
        changed = replace(request, path=data.draw(text))
    elif part == "query":
        pairs = st.lists(st.tuples(text.filter(lambda name: name.lower() != "authorization"), text), max_size=4)
        changed = replace(request, query=data.draw(pairs))
        assume(sorted(changed.query) != sorted(request.query))
    else:
        name = data.draw(st.sampled_from(sorted(name for name, _ in request.headers if name in signed)))
        changed = with_header(request, name, data.draw(st.text(st.characters(codec="utf-8"), max_size=30)))
        before, after = dict(request.headers)[name], dict(changed.headers)[name]
        assume(before.strip(" \t") != after.strip(" \t"))
        assume(name != "host" or bce._without_port(before) != bce._without_port(after))
    assume(changed != request)
    with pytest.raises(BadSignature):
        vector.check(request=changed)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_text_are_not_taken_for_others(raw: bytes) -> None:
    def decoded(data: bytes) -> str:
        return data.decode("utf-8", "surrogateescape")

    assume(raw != b"x" and raw)
    assert bce.encode(decoded(raw)) != bce.encode("x")
    assert bytes.fromhex(bce.encode(decoded(b"\xff" + raw))[1:3]) == b"\xff"


def test_a_raw_query_is_taken_apart_byte_for_byte() -> None:
    assert bce.query_pairs("a=%FF&b=&c&d=1+2") == [("a", "\udcff"), ("b", ""), ("c", ""), ("d", "1 2")]
    assert bce.canonical_query(bce.query_pairs("a=%FF&Authorization=x")) == "a=%FF"
