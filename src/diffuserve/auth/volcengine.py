"""Volcengine's signature, HMAC-SHA256: each function is a step of the specification, in its words and its order.

A request says who signed it and what (`read_claim`), in the header `Authorization` or, presigned, in its query. Then
`canonical_request`, `string_to_sign`, `signing_key` and `signature` are computed again, and `verify` compares. Pure: the
caller finds the secret and brings the time. Next: `replays.py`, which lets a signature serve once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import parse_qsl, quote

ALGORITHM = "HMAC-SHA256"
TERMINATOR = "request"
LIFETIME = 900
"""Seconds that a signature is good for where `X-Expires` does not say otherwise, and how far a clock may be ahead."""
MAX_LIFETIME = 7 * 86_400
TOKEN = "x-security-token"

Pairs = Sequence[tuple[str, str]]


class Fault(StrEnum):
    """What is wrong with a signed request, by the vendor's `Code`."""

    MISSING_REQUEST_INFO = "MissingRequestInfo"
    MISSING_SIGNATURE = "MissingSignature"
    INVALID_TIMESTAMP = "InvalidTimestamp"
    INVALID_ACCESS_KEY = "InvalidAccessKey"
    SIGNATURE_DOES_NOT_MATCH = "SignatureDoesNotMatch"
    INVALID_AUTHORIZATION = "InvalidAuthorization"
    INVALID_CREDENTIAL = "InvalidCredential"
    INVALID_SECRET_TOKEN = "InvalidSecretToken"
    SERVICE_NOT_FOUND = "ServiceNotFound"


class Refused(Exception):
    """All that this room raises. `detail` is what the vendor's message for the fault has a place for."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(fault.value)
        self.fault = fault
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Message:
    """A request as it came."""

    method: str
    path: str
    """Decoded."""
    query: Pairs
    """Decoded (`decoded_query`)."""
    headers: Pairs
    """Names in lower case."""

    def header(self, name: str) -> str | None:
        """Its value; those of a repeated header joined by commas, as HTTP reads them."""
        values = [value for key, value in self.headers if key == name]
        return ",".join(values) if values else None

    def parameter(self, name: str) -> str | None:
        """Of the query; of a repeated one the first."""
        return next((value for key, value in self.query if key == name), None)


@dataclass(frozen=True, slots=True)
class Credential:
    """`<access key>/<YYYYMMDD>/<region>/<service>/request`."""

    access_key: str
    date: str
    region: str
    service: str

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{TERMINATOR}"


@dataclass(frozen=True, slots=True)
class Claim:
    """Who says to have signed what, and when; believed only after `verify`."""

    credential: Credential
    date: str
    """`X-Date`."""
    signature: str
    signed_headers: tuple[str, ...]
    signed_queries: tuple[str, ...] | None = None
    """Presigned: the parameters that are signed, and the body is not. None in the header form, which signs all."""

    @property
    def presigned(self) -> bool:
        return self.signed_queries is not None


# Who says what


def is_signed(message: Message) -> bool:
    """Whether the request is signed in one of the two forms, well or badly."""
    return _in_header(message) or message.parameter("X-Signature") is not None


def read_claim(message: Message) -> Claim:
    """What a signed request says of itself. Raises Refused."""
    return _header_form(message) if _in_header(message) else _query_form(dict(reversed(message.query)))


def _in_header(message: Message) -> bool:
    return (message.header("authorization") or "").lstrip().startswith(ALGORITHM)


def _header_form(message: Message) -> Claim:
    _, _, rest = (message.header("authorization") or "").strip().partition(ALGORITHM)
    parts = {}
    for part in rest.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise Refused(Fault.INVALID_AUTHORIZATION)
        parts[name.strip()] = value.strip()
    if "Credential" not in parts:
        raise Refused(Fault.INVALID_AUTHORIZATION)
    credential = _credential(parts["Credential"])
    if not parts.get("Signature"):
        raise Refused(Fault.MISSING_SIGNATURE)
    if not parts.get("SignedHeaders"):
        raise Refused(Fault.INVALID_AUTHORIZATION)
    date = message.header("x-date")
    if not date:
        raise Refused(Fault.MISSING_REQUEST_INFO, "X-Date")
    return Claim(credential, date, parts["Signature"], _names(parts["SignedHeaders"].lower()))


def _query_form(query: Mapping[str, str]) -> Claim:
    if query.get("X-Algorithm") != ALGORITHM:
        raise Refused(Fault.INVALID_AUTHORIZATION)
    if not query.get("X-Credential"):
        raise Refused(Fault.MISSING_REQUEST_INFO, "X-Credential")
    credential = _credential(query["X-Credential"])
    if not query["X-Signature"]:
        raise Refused(Fault.MISSING_SIGNATURE)
    if not query.get("X-Date"):
        raise Refused(Fault.MISSING_REQUEST_INFO, "X-Date")
    headers, queries = query.get("X-SignedHeaders", ""), query.get("X-SignedQueries", "")
    return Claim(credential, query["X-Date"], query["X-Signature"], _names(headers.lower()), _names(queries))


def _credential(text: str) -> Credential:
    access_key, *scope = text.split("/")
    if len(scope) != 4 or scope[-1] != TERMINATOR:
        raise Refused(Fault.INVALID_CREDENTIAL)
    for name, value in (("access key", access_key), ("date", scope[0]), ("region", scope[1]), ("service", scope[2])):
        if not value:
            raise Refused(Fault.MISSING_REQUEST_INFO, name)
    return Credential(access_key, *scope[:3])


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in map(str.strip, text.split(";")) if name)


# When


def check_time(claim: Claim, message: Message, now: float) -> float:
    """Until when the signature is good, Unix seconds. Raises Refused for one that is too old or from the future, and for an
    `X-Date` that is no date, or another one than the credential's."""
    parts = re.fullmatch(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z", claim.date)
    if parts is None or claim.date[:8] != claim.credential.date:
        raise Refused(Fault.INVALID_TIMESTAMP)
    try:
        year, month, day, hour, minute, second = map(int, parts.groups())
        signed_at = datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        raise Refused(Fault.INVALID_TIMESTAMP) from None
    until = signed_at + _lifetime(claim, message)
    if not signed_at - LIFETIME <= now <= until:
        raise Refused(Fault.INVALID_TIMESTAMP)
    return until


def _lifetime(claim: Claim, message: Message) -> int:
    asked = message.parameter("X-Expires")
    # Where it is not signed, anybody could have written it.
    if asked is None or (claim.signed_queries is not None and "X-Expires" not in claim.signed_queries):
        return LIFETIME
    if not re.fullmatch(r"[0-9]{1,9}", asked) or not 1 <= int(asked) <= MAX_LIFETIME:
        raise Refused(Fault.INVALID_TIMESTAMP)
    return int(asked)


# The steps of the specification


def canonical_uri(path: str) -> str:
    return quote(_bytes(path), safe="/-_.~") or "/"


def decoded_query(query: str) -> Pairs:
    """Of a query as it came, without the question mark; `+` is a space."""
    # Bytes that are no UTF-8 stay what they are: replaced, different queries would have one signature.
    return parse_qsl(query, keep_blank_values=True, errors="surrogateescape")


def canonical_query(query: Pairs, names: Collection[str] | None = None) -> str:
    """Encoded again and sorted by name; of `names` only, where they are given."""
    pairs = sorted((pair for pair in query if names is None or pair[0] in names), key=lambda pair: pair[0])
    return "&".join(f"{quote(_bytes(name), safe='-_.~')}={quote(_bytes(value), safe='-_.~')}" for name, value in pairs)


def canonical_queries(claim: Claim, message: Message) -> Iterator[str]:
    """Those that the client may have signed: all of the query, or, presigned, what it lists."""
    if claim.signed_queries is None:
        yield canonical_query(message.query)
        return
    listed = {*claim.signed_queries}
    yield canonical_query(message.query, listed)
    # Some of the vendor's clients sign the token without listing it.
    yield canonical_query(message.query, {*listed, "X-Security-Token"})


def canonical_headers(message: Message, signed_headers: Sequence[str]) -> str:
    """One line for each; a single line break where none is signed."""
    lines = [f"{name}:{_canonical_value(name, message.header(name) or '')}\n" for name in sorted(signed_headers)]
    return "".join(lines) or "\n"


def canonical_request(message: Message, claim: Claim, query: str, body_hash: str) -> str:
    return "\n".join(
        (
            message.method.upper(),
            canonical_uri(message.path),
            query,
            canonical_headers(message, claim.signed_headers),
            ";".join(sorted(claim.signed_headers)),
            body_hash,
        )
    )


def string_to_sign(claim: Claim, canonical: str) -> str:
    return "\n".join((ALGORITHM, claim.date, claim.credential.scope, sha256(_bytes(canonical))))


def signing_key(secret: str, credential: Credential) -> bytes:
    key = secret.encode()
    for part in (credential.date, credential.region, credential.service, TERMINATOR):
        key = hmac.digest(key, _bytes(part), "sha256")
    return key


def signature(secret: str, claim: Claim, canonical: str) -> str:
    return hmac.digest(signing_key(secret, claim.credential), _bytes(string_to_sign(claim, canonical)), "sha256").hex()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def verify(claim: Claim, message: Message, body_hash: str, secret: str) -> None:
    """`body_hash` is the SHA-256 of the raw body, hexadecimal. Raises Refused."""
    if claim.signed_queries is not None:
        # Without these two, the signature of one action would do for all.
        complete = {"Action", "Version"} <= set(claim.signed_queries)
        body_hash = sha256(b"")
    else:
        complete = "x-date" in claim.signed_headers
        complete &= (message.header("x-content-sha256") or body_hash).strip() == body_hash
    for query in canonical_queries(claim, message):
        expected = signature(secret, claim, canonical_request(message, claim, query, body_hash))
        if hmac.compare_digest(_bytes(expected), _bytes(claim.signature)) and complete:
            return
    raise Refused(Fault.SIGNATURE_DOES_NOT_MATCH)


def check_token(message: Message, token: str) -> None:
    """Raises Refused where the request does not show the session token that belongs to its access key."""
    shown = message.header(TOKEN) or message.parameter("X-Security-Token") or ""
    if not hmac.compare_digest(_bytes(shown), _bytes(token)):
        raise Refused(Fault.INVALID_SECRET_TOKEN, "it is not the token of this access key")


def _canonical_value(name: str, value: str) -> str:
    value = re.sub(r"[ \t]+", " ", value.strip(" \t"))
    # The ports that go without saying are left out, whether the client wrote them or not.
    return re.sub(r":(80|443)$", "", value) if name == "host" else value


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
