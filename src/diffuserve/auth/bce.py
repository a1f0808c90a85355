"""bce-auth-v1, the request signature of Baidu's cloud: each function is a step of the specification, in its order.

    Authorization: bce-auth-v1/{accessKeyId}/{timestamp}/{expirationSeconds}/{signedHeaders}/{signature}

`read` takes the header apart, `check_time` and `verify` judge it. The body is not covered. What clients do differently
from the specification stands where it is allowed for (docs/dialects/qianfan.md names the clients).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import parse_qsl, quote

SCHEME = "bce-auth-v1"
MAX_AHEAD = 900.0
"""Seconds by which a client's clock may be ahead of ours."""
MAX_HEADER = 2048
"""Characters; no client's header is longer."""

BCE_PREFIX = "x-bce-"
DEFAULT_HEADERS = frozenset({"host", "content-length", "content-type", "content-md5"})
"""Signed where the header names none, with every `x-bce-*` header of the request."""

Pairs = Sequence[tuple[str, str]]

_ACCESS_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_SECONDS = re.compile(r"[0-9]{1,9}")
_NAMES = re.compile(r"([a-z0-9!#$%&'*+.^_`|~-]+(;[a-z0-9!#$%&'*+.^_`|~-]+)*)?")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


class Fault(StrEnum):
    """What is wrong with a signature; the values are the vendor's codes."""

    UNREADABLE = "InvalidHTTPAuthHeader"
    EXPIRED = "RequestExpired"
    MISMATCH = "SignatureDoesNotMatch"


class BadSignature(Exception):
    """`message` is one sentence fit for the caller: it says what to mend and nothing of the secret."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message


@dataclass(frozen=True, slots=True)
class Authorization:
    """A header, taken apart but not yet judged."""

    access_key: str
    timestamp: str
    """`YYYY-MM-DDThh:mm:ssZ`, UTC."""
    signed_at: float
    """The same in Unix seconds."""
    lifetime: int
    """Seconds after `signed_at` for which it holds."""
    signed_headers: frozenset[str]
    """Lower-case names; empty means the default ones. A set: Python's client writes them in any order."""
    signature: str
    """64 hexadecimal digits."""

    @property
    def prefix(self) -> str:
        return f"{SCHEME}/{self.access_key}/{self.timestamp}/{self.lifetime}"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What of a request can be signed. Bytes that are not UTF-8 are kept as surrogates, so that none is taken for another."""

    method: str
    path: str
    """Decoded, as it came."""
    query: Pairs
    """Decoded, in any order."""
    headers: Pairs
    """Lower-case names; one pair for each line of the request."""


def is_bce(header: str) -> bool:
    """Whether an `Authorization` header means this scheme at all."""
    return header.lstrip()[: len(SCHEME)].lower() == SCHEME


def read(header: str) -> Authorization:
    """Raises BadSignature (UNREADABLE)."""
    fields = header.strip().split("/") if len(header) <= MAX_HEADER else []
    if len(fields) != 6:
        raise BadSignature(
            Fault.UNREADABLE, f"the Authorization header must be {SCHEME} and five fields behind slashes"
        )
    scheme, access_key, timestamp, seconds, names, signature = fields
    for text, form, what in (
        (access_key, _ACCESS_KEY, "access key"),
        (timestamp, _TIMESTAMP, "timestamp"),
        (seconds, _SECONDS, "number of seconds"),
        (names, _NAMES, "list of signed headers"),
        (signature, _SIGNATURE, "signature"),
    ):
        if not form.fullmatch(text):
            raise BadSignature(Fault.UNREADABLE, f"the {what} in the Authorization header cannot be read")
    if scheme != SCHEME or seconds != str(int(seconds)):
        raise BadSignature(Fault.UNREADABLE, "the Authorization header is not in its canonical form")
    signed = frozenset(names.split(";")) if names else frozenset()
    return Authorization(access_key, timestamp, _unix(timestamp), int(seconds), signed, signature)


def check_time(authorization: Authorization, now: float) -> None:
    """Raises BadSignature (EXPIRED) for one that is over, or signed too far ahead of `now`."""
    if authorization.signed_at > now + MAX_AHEAD:
        raise BadSignature(Fault.EXPIRED, "the request was signed in the future: set the client's clock")
    if authorization.signed_at + authorization.lifetime < now:
        raise BadSignature(Fault.EXPIRED, "the signature has expired")


def verify(request: SignedRequest, authorization: Authorization, secret_key: str, *, mount: str = "") -> None:
    """Raises BadSignature (MISMATCH).

    `mount` is a prefix of the path that the client may not have signed: Python's client puts the path of its base address
    before the path of a console request after signing it.
    """
    if not _present(authorization.signed_headers, request.headers):
        raise BadSignature(Fault.MISMATCH, "a header that was signed did not arrive")
    key = signing_key(secret_key, authorization.prefix)
    given = authorization.signature.encode()
    for reading in readings(request, authorization, mount):
        if hmac.compare_digest(signature(key, reading).encode(), given):
            return
    raise BadSignature(Fault.MISMATCH, "the signature does not match")


def encode(text: str) -> str:
    """UTF-8, all but letters, digits and `-_.~` as %XX."""
    return quote(text, safe="-_.~", errors="surrogateescape")


def canonical_uri(path: str) -> str:
    """The path, encoded but for its slashes."""
    return quote(path, safe="/-_.~", errors="surrogateescape")


def canonical_query(query: Pairs) -> str:
    """Every parameter but `authorization`, encoded and sorted."""
    return "&".join(sorted(f"{encode(k)}={encode(v)}" for k, v in query if k.lower() != "authorization"))


def canonical_headers(headers: Pairs, names: Iterable[str]) -> str:
    """A sorted line for each header of `names` that has a value."""
    chosen = frozenset(names)
    pairs = ((name, value.strip(" \t")) for name, value in headers if name in chosen)
    return "\n".join(sorted(f"{encode(name)}:{encode(value)}" for name, value in pairs if value))


def canonical_request(method: str, path: str, query: Pairs, headers: Pairs, names: Iterable[str]) -> str:
    return "\n".join((method, canonical_uri(path), canonical_query(query), canonical_headers(headers, names)))


def signing_key(secret_key: str, prefix: str) -> str:
    """64 hexadecimal digits, which serve as text in the next step."""
    return _hmac(secret_key, prefix)


def signature(key: str, canonical: str) -> str:
    return _hmac(key, canonical)


def query_pairs(raw: str) -> Pairs:
    """The parameters of a raw query string, for `SignedRequest`."""
    return parse_qsl(raw, keep_blank_values=True, errors="surrogateescape")


def readings(request: SignedRequest, authorization: Authorization, mount: str) -> Iterator[str]:
    """The canonical requests that an honest client may have signed, the likeliest first."""
    bce = frozenset(name for name, _ in request.headers if name.startswith(BCE_PREFIX))
    listed = authorization.signed_headers or DEFAULT_HEADERS | bce
    # The vendor's Python signer signs every x-bce-* header, whether it lists it or not.
    name_sets = [listed] if bce <= listed else [listed, listed | bce]
    # Go and Java sign the host without its port and send it with it.
    header_lists = [request.headers]
    portless = [(name, _without_port(value) if name == "host" else value) for name, value in request.headers]
    if portless != list(request.headers):
        header_lists.append(portless)
    paths = [request.path]
    if mount and request.path.startswith(mount + "/"):
        paths.append(request.path[len(mount) :])
    for path in paths:
        for names in name_sets:
            for headers in header_lists:
                yield canonical_request(request.method, path, request.query, headers, names)


def _present(names: frozenset[str], headers: Pairs) -> bool:
    return names <= {name for name, _ in headers}


def _without_port(host: str) -> str:
    return re.sub(r":[0-9]+\s*$", "", host)


def _unix(timestamp: str) -> float:
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        raise BadSignature(Fault.UNREADABLE, "the timestamp in the Authorization header is no date") from None


def _hmac(key: str, text: str) -> str:
    data = text.encode("utf-8", "surrogateescape")
    return hmac.new(key.encode("utf-8", "surrogateescape"), data, hashlib.sha256).hexdigest()
