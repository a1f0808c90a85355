"""A flood of one caller, and a guest: how long the guest waits, on the embedded model.

One caller keeps 64 jobs of 50 steps open, all the time; the other one sends a job of 10 steps every second. Three times,
through the whole server: with an account for each; with one account for both, so that the server cannot tell them apart; and in
the order of arrival (`peers/first_come.py`: the same server and batches, but each job is drawn to its end before younger ones
begin). The engine's steps a second show what fairness costs in all.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

import common

FIRST_COME = Path(__file__).resolve().parent / "peers" / "first_come.py"
SETTLED = 3.0
"""Seconds from the first job of the flood to the first one of the guest."""
FLOOD_STEPS, GUEST_STEPS = 50, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="for which the guest comes")
    parser.add_argument("--flood", type=int, default=64, help="jobs that are kept open")
    options = parser.parse_args()
    figures: dict[str, Any] = {"flood": options.flood, "guests": options.seconds}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        keys = {name: _key(data, name) for name in ("flood", "guest")}
        admin = _key(data, "operator", "--scope", "admin")
        own, shared = (keys["flood"], keys["guest"]), (keys["flood"], keys["flood"])
        for name, in_order, callers in (
            ("an account for each", False, own),
            ("one account for both", False, shared),
            ("order of arrival", True, shared),
        ):
            print(f"measuring {name} ...", file=sys.stderr)
            port, copy = common.free_port(), Path(folder, name.replace(" ", "-"))
            shutil.copytree(data, copy)
            command = common.diffuserve(port, copy)
            if in_order:
                command[:1] = [sys.executable, str(FIRST_COME)]
            with common.server(command, f"http://127.0.0.1:{port}/readyz"):
                figures[name] = asyncio.run(_measure(f"http://127.0.0.1:{port}", callers, admin, options))
    fair, in_order = figures["an account for each"], figures["order of arrival"]
    figures["guest_p99_better_than_in_order"] = round(in_order["guest_p99_seconds"] / fair["guest_p99_seconds"], 1)
    common.save("fairness", figures)


async def _measure(base: str, keys: tuple[str, str], admin: str, options: argparse.Namespace) -> dict[str, Any]:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with contextlib.AsyncExitStack() as stack:
        flood, guest, operator = [
            await stack.enter_async_context(
                httpx2.AsyncClient(
                    base_url=base, timeout=900, limits=limits, headers={"authorization": f"Bearer {key}"}
                )
            )
            for key in (*keys, admin)
        ]
        alone = [await _draw(guest, GUEST_STEPS) for _ in range(4)][1:]
        flooding = [asyncio.create_task(_keep_drawing(flood)) for _ in range(options.flood)]
        await asyncio.sleep(SETTLED)
        began, before = time.perf_counter(), await _steps(operator)
        guests = []
        for second in range(options.seconds):
            await asyncio.sleep(max(0.0, began + second - time.perf_counter()))
            guests.append(asyncio.create_task(_draw(guest, GUEST_STEPS)))
        waits = await asyncio.gather(*guests)
        steps, seconds = await _steps(operator) - before, time.perf_counter() - began
        failed = [task.exception() for task in flooding if task.done()]
        for task in flooding:
            task.cancel()
        await asyncio.gather(*flooding, return_exceptions=True)
    if failed:
        raise SystemExit(f"the flood broke off: {failed[0]!r}")
    return {
        "guest_p50_seconds": round(common.percentile(waits, 50), 2),
        "guest_p99_seconds": round(common.percentile(waits, 99), 2),
        "guest_alone_seconds": round(common.percentile(alone, 50), 2),
        "engine_steps_per_second": round(steps / seconds, 1),
    }


async def _keep_drawing(client: httpx2.AsyncClient) -> None:
    while True:
        await _draw(client, FLOOD_STEPS)


async def _draw(client: httpx2.AsyncClient, steps: int) -> float:
    """Seconds until the picture's link was there."""
    began = time.perf_counter()
    fields = {"prompt": "a rocket", "num_inference_steps": str(steps), "width": "128", "height": "128"}
    answer = await client.post("/txt2img", data=fields)
    answer.raise_for_status()
    return time.perf_counter() - began


async def _steps(operator: httpx2.AsyncClient) -> float:
    """Samples advanced by one step since the server's start."""
    answer = await operator.get("/metrics")
    answer.raise_for_status()
    found = re.search(r"^diffuserve_engine_rows_total (\S+)$", answer.text, re.MULTILINE)
    if found is None:
        raise SystemExit("the server tells no diffuserve_engine_rows_total")
    return float(found[1])


def _key(data: Path, account: str, *options: str) -> str:
    command = [str(common.BIN / "diffuserve"), "keys", "create", "--account", account, *options, "--json"]
    done = subprocess.run([*command, "--data-dir", str(data)], capture_output=True, text=True, check=True)
    token: str = json.loads(done.stdout)["token"]
    return token


if __name__ == "__main__":
    main()
