"""What wallets and tasks of the iPollo dialect cost over HTTP: pictures and queries a second, fake engine, no delay.

Pictures are asked for by an address without a plan, by one with a plan that pays, and on a closed server by an address
that is a key; queries name a task and nothing else. `ipollo` is the dialect's row for `dialects_path.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2

import common

ADDRESS = "0x6fd5a1b2c3d4e5f60718293a4b5c6d7e8f901234"
TXT2IMG = "/iPollo/stableDiffsionXL/txt2img"
QUERY = "/iPollo/twinSync/videotalking"


async def ipollo(client: httpx2.AsyncClient, number: int) -> httpx2.Response:
    """One small picture of ten steps."""
    body = {"prompt": f"number {number}", "btc_address": ADDRESS, "steps": 10, "width": 64, "height": 64}
    return await client.post(TXT2IMG, json=body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    common.save("dialect_ipollo", measure(options.pictures, options.queries, options.clients))


def measure(pictures: int, queries: int, clients: int) -> dict[str, Any]:
    """Figures by who asks."""
    figures: dict[str, Any] = {"pictures": pictures, "queries": queries, "clients": clients}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("open", "plan", "registered_address"):
            data = Path(folder) / name
            if name != "open":
                buying = ["--wallet", ADDRESS, "--unit", "seconds", "--amount", "1e6", "--until", "1d"]
                _manage(data, "plans", "create", *buying)
            if name == "registered_address":
                _manage(data, "keys", "create", "--token", ADDRESS, "--scope", "dialect:ipollo")
            port = common.free_port()
            command = common.diffuserve(port, data, "--engine", "fake")
            with common.server(command, f"http://127.0.0.1:{port}/readyz"):
                figures[name] = asyncio.run(_against(port, pictures, queries, clients))
    return figures


async def _against(port: int, pictures: int, queries: int, clients: int) -> dict[str, float]:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        task = ""

        async def picture(number: int) -> None:
            nonlocal task
            answer = await ipollo(client, number)
            answer.raise_for_status()
            task = answer.headers["diffuserve-task"]

        async def query(number: int) -> None:
            answer = await client.get(QUERY, params={"taskID": task})
            if answer.json()["result_code"] != 100:
                raise SystemExit(answer.text)

        async def rate(call: Callable[[int], Awaitable[None]], count: int) -> tuple[float, float]:
            await common.closed_loop(range(50), clients, call)
            wall, latencies = await common.closed_loop(range(count), clients, call)
            return round(count / wall, 1), round(1000 * common.percentile([one for _, one in latencies], 50), 2)

        drawn, drawn_p50 = await rate(picture, pictures)
        asked, asked_p50 = await rate(query, queries)
        return {
            "pictures_per_second": drawn,
            "picture_p50_ms": drawn_p50,
            "queries_per_second": asked,
            "query_p50_ms": asked_p50,
        }


def _manage(data: Path, *arguments: str) -> None:
    command = [str(common.BIN / "diffuserve"), *arguments, "--account", "shop", "--json", "--data-dir", str(data)]
    json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
