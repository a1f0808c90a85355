"""What it costs to know who asks in the Volcengine dialect: one verification, and whole requests over HTTP.

Verifications are pure computation: a signed request, one with a picture in its body (which is hashed), a presigned one, and
one that is refused. Requests ask for a task, which reads the store once, or draw a picture of the fake engine from one
of 600x800; each by an open server, then by a closed one with a bearer key and with a signature.
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
from urllib.parse import urlsplit

import httpx2

import common

sys.path.insert(0, str(common.ROOT / "tests"))

from diffuserve.auth import volcengine
from support.volcengine import REQ_KEY, body, encoded, path, signed

PAIR = ("DSAKABCDEFGHIJKLMNOP", "x" * 43)
HOST = "http://127.0.0.1:8000"
PICTURE_BYTES = 2**20
PLAIN = {"content-type": "application/json"}
VECTORS = common.ROOT / "tests" / "unit" / "auth" / "vectors" / "volcengine"

Sign = Callable[[str, bytes], dict[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verifications", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    figures: dict[str, Any] = {"verification_us": verifications(options.verifications)}
    figures |= _over_http(options)
    common.save("signatures_volcengine", figures)


def verifications(count: int) -> dict[str, float]:
    """Microseconds for one, by kind."""
    now = time.time()

    def prepared(content: bytes, headers: dict[str, str]) -> Callable[[], None]:
        url = HOST + path("CVProcess")

        def verify() -> None:
            query = volcengine.decoded_query(urlsplit(url).query)
            _verify(volcengine.Message("POST", "/", query, list(headers.items())), content, PAIR[1], now)

        return verify

    small, large = encoded({"req_key": REQ_KEY, "task_id": "1"}), b"x" * PICTURE_BYTES
    wrong = signed(HOST + path("CVProcess"), small, PAIR[0], "another secret", now=now)
    link = json.loads((VECTORS / "presigned_python.json").read_text())

    def presigned() -> None:
        message = volcengine.Message("POST", "/", volcengine.decoded_query(link["query"]), [])
        _verify(message, b"", link["secret_key"], link["now"])

    def right(content: bytes) -> dict[str, str]:
        return signed(HOST + path("CVProcess"), content, *PAIR, now=now)

    return {
        "signature": _microseconds(prepared(small, right(small)), count),
        "signature_with_1_MiB_body": _microseconds(prepared(large, right(large)), count // 50),
        "presigned": _microseconds(presigned, count),
        "refused": _microseconds(prepared(small, wrong), count),
    }


def _verify(message: volcengine.Message, content: bytes, secret: str, now: float) -> None:
    claim = volcengine.read_claim(message)
    volcengine.check_time(claim, message, now)
    with contextlib.suppress(volcengine.Refused):
        volcengine.verify(claim, message, volcengine.sha256(content), secret)


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
        for name, sign in _ways(keys).items():

            async def call(action: str, sent: dict[str, Any], sign: Sign = sign) -> None:
                url, content = f"http://127.0.0.1:{port}{path(action)}", encoded(sent)
                answer = await client.post(url, content=content, headers=sign(url, content))
                answer.raise_for_status()

            async def query(number: int, call: Any = call) -> None:
                await call("CVGetResult", {"req_key": REQ_KEY, "task_id": str(number)})

            async def picture(number: int, call: Any = call) -> None:
                await call("CVProcess", body(seed=number))

            await common.closed_loop(range(50), options.clients, query)
            wall, latencies = await common.closed_loop(range(options.requests), options.clients, query)
            drawing, _ = await common.closed_loop(range(options.pictures), options.clients, picture)
            figures[name] = {
                "queries_per_second": round(options.requests / wall, 1),
                "query_p50_ms": round(1000 * common.percentile([seconds for _, seconds in latencies], 50), 2),
                "pictures_per_second": round(options.pictures / drawing, 1),
            }
    return figures


def _ways(keys: dict[str, dict[str, str]]) -> dict[str, Sign]:
    """How to ask: the headers for an address and a body."""
    if not keys:
        return {"open": lambda url, content: PLAIN}
    bearer = {**PLAIN, "authorization": f"Bearer {keys['bearer']['token']}"}
    pair = (keys["pair"]["access_key"], keys["pair"]["secret_key"])
    return {
        "bearer_key": lambda url, content: bearer,
        "signature": lambda url, content: signed(url, content, *pair),
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
