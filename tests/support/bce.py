"""Signing requests with bce-auth-v1, as an honest client does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from diffuserve.auth import bce
from diffuserve.core.account import NewKey


def authorization(
    pair: NewKey | tuple[str, str],
    method: str,
    path: str,
    headers: Mapping[str, str],
    *,
    now: float,
    seconds: int = 300,
    query: bce.Pairs = (),
    names: Iterable[str] | None = None,
) -> str:
    """The value of `Authorization`; every one of `headers` is signed unless `names` says otherwise."""
    access_key, secret_key = (pair.key.access_key or "", pair.secret) if isinstance(pair, NewKey) else pair
    pairs = [(name.lower(), value) for name, value in headers.items()]
    signed = sorted(name for name, _ in pairs) if names is None else list(names)
    timestamp = datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    prefix = f"{bce.SCHEME}/{access_key}/{timestamp}/{seconds}"
    canonical = bce.canonical_request(method, path, query, pairs, signed)
    return f"{prefix}/{';'.join(signed)}/{bce.signature(bce.signing_key(secret_key, prefix), canonical)}"
