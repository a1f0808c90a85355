"""What it costs to know who asks in the Qianfan dialect: one verification, and whole requests over HTTP.

Verifications are pure computation: an access token read, a `bce-auth-v1` signature checked, and one that fits none of the
readings that clients need. Requests are the model list, which does nothing else, and a picture of the fake engine; each by
an open server, then by a closed one with a bearer key, an access token and a signature.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

import common

sys.path.insert(0, str(common.ROOT / "tests"))

from diffuserve.auth import bce
from diffuserve.auth.access_tokens import AccessTokens
from diffuserve.wiring import SystemClock
from support.bce import authorization

PATH = "/rpc/2.0/ai_custom/v1/wenxinworkshop/text2image/sd_xl"
MODELS = "/wenxinworkshop/service/list"
PICTURE = {"prompt": "a red apple", "size": "768x768", "steps": 10}
PAIR = ("DSAKABCDEFGHIJKLMNOP", "x" * 43)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verifications", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    figures: dict[str, Any] = {"verification_us": _verifications(options.verifications)}
    figures |= _over_http(options)
    common.save("signatures_bce", figures)


def _verifications(count: int) -> dict[str, float]:
    access_tokens = AccessTokens(b"s" * 32, SystemClock())
    token = access_tokens.issue(PAIR[0])
    headers = _headers("127.0.0.1:8000")
    request = bce.SignedRequest("POST", PATH, [], list(headers.items()))
    good = authorization(PAIR, "POST", PATH, headers, now=time.time())
    bad = good[:-64] + "0" * 64

    def verified(header: str) -> None:
        found = bce.read(header)
        bce.check_time(found, time.time())
        with contextlib.suppress(bce.BadSignature):
            bce.verify(request, found, PAIR[1])

    return {
        "access_token": _microseconds(lambda: access_tokens.read(token), count),
        "signature": _microseconds(lambda: verified(good), count),
        "signature_refused": _microseconds(lambda: verified(bad), count),
    }


def _over_http(options: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (("open", Path(folder) / "open"), ("closed", Path(folder) / "closed")):
            keys = {kind: _key(data, kind) for kind in ("bearer", "pair")} if name == "closed" else {}
            port = common.free_port()
            command = common.diffuserve(port, data, "--engine", "fake")
            with common.server(command, f"http://127.0.0.1:{port}/readyz"):
                figures |= asyncio.run(_measure(port, keys, options))
    return figures


async def _measure(port: int, keys: dict[str, dict[str, str]], options: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        for name, headers in (await _ways(client, port, keys)).items():

            async def call(path: str, body: dict[str, Any], headers: Callable[[str], dict[str, str]] = headers) -> None:
                answer = await client.post(path, content=json.dumps(body), headers=headers(path))
                answer.raise_for_status()
                if "error_code" in answer.json():
                    raise SystemExit(answer.text)

            async def models(_: int, call: Any = call) -> None:
                await call(MODELS, {})

            async def picture(number: int, call: Any = call) -> None:
                await call(PATH, {**PICTURE, "seed": number})

            await common.closed_loop(range(50), options.clients, models)
            wall, latencies = await common.closed_loop(range(options.requests), options.clients, models)
            drawing, _ = await common.closed_loop(range(options.pictures), options.clients, picture)
            figures[name] = {
                "lists_per_second": round(options.requests / wall, 1),
                "list_p50_ms": round(1000 * common.percentile([seconds for _, seconds in latencies], 50), 2),
                "pictures_per_second": round(options.pictures / drawing, 1),
            }
    return figures


async def _ways(
    client: httpx2.AsyncClient, port: int, keys: dict[str, dict[str, str]]
) -> dict[str, Callable[[str], dict[str, str]]]:
    """How to ask: the headers for a path."""
    if not keys:
        return {"open": lambda path: {"content-type": "application/json"}}
    pair = keys["pair"]
    params = {"grant_type": "client_credentials", "client_id": pair["access_key"], "client_secret": pair["secret_key"]}
    token = (await client.post("/oauth/2.0/token", params=params)).json()["access_token"]
    named = (pair["access_key"], pair["secret_key"])

    def signed(path: str) -> dict[str, str]:
        headers = _headers(f"127.0.0.1:{port}")
        return {**headers, "authorization": authorization(named, "POST", path, headers, now=time.time())}

    return {
        "bearer_key": lambda path: {"authorization": f"Bearer {keys['bearer']['token']}"},
        "access_token": lambda path: {"authorization": f"Bearer {token}"},
        "signature": signed,
    }


def _headers(host: str) -> dict[str, str]:
    """What the Python client sends and signs."""
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "content-type": "application/json",
        "host": host,
        "request_id": "sdk-py-0.4.12.3-abcdefgh12345678",
        "x-bce-date": date,
    }


def _key(data: Path, kind: str) -> dict[str, str]:
    command = [str(common.BIN / "diffuserve"), "keys", "create", "--account", "a", "--type", kind, "--json"]
    done = subprocess.run([*command, "--data-dir", str(data)], capture_output=True, text=True, check=True)
    made: dict[str, str] = json.loads(done.stdout)
    return made


def _microseconds(call: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        call()
    return round(1e6 * (time.perf_counter() - began) / count, 1)


if __name__ == "__main__":
    main()
