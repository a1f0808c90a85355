"""Baidu's own Python client in a process of its own, because it keeps settings and tokens in globals and on the disk.

`calls` starts this file as a script, gives it what to call, and returns what came of each call.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PATIENCE = 90.0


def calls(folder: Path, url: str, *asked: dict[str, Any], **environment: str) -> list[dict[str, Any]]:
    """Make the calls, all with one `Text2Image`: each is {"call": "do", ...} with the client's own arguments.

    `environment` are `QIANFAN_*` settings without that prefix. A result is {"body": ..., "headers": ...} or {"error": class,
    "code": ..., "text": ...}; pictures are cut down to their first bytes.
    """
    settings = {"BASE_URL": url, "CONSOLE_API_BASE_URL": url, "CACHE_DIR": str(folder / "cache"), **environment}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("QIANFAN_")}
    done = subprocess.run(
        # -P: beside this file lies a `qianfan.py` that is not the client.
        [sys.executable, "-P", __file__],
        cwd=folder,
        env={
            **inherited,
            "NO_PROXY": "*",
            "HOME": str(folder),
            **{f"QIANFAN_{name}": value for name, value in settings.items()},
        },
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Its own remarks are on standard output, too: ours is the last line.
    results: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return results


def _main() -> None:
    import qianfan

    asked = json.loads(sys.stdin.read())
    init = asked[0].pop("init", {})
    try:
        client = qianfan.Text2Image(**init)
    except Exception as error:
        print(json.dumps([_failure(error)] * len(asked)))  # noqa: T201
        return
    print(json.dumps([result for call in asked for result in _made(client, call)]))  # noqa: T201


def _made(client: Any, call: dict[str, Any]) -> list[dict[str, Any]]:
    name = call.pop("call")
    try:
        match name:
            case "do":
                answers = [client.do(**call)]
            case "ado":
                answers = [asyncio.run(client.ado(**call))]
            case "batch_do":
                answers = client.batch_do(**call).results()
            case "abatch_do":
                answers = asyncio.run(client.abatch_do(**call))
            case "models":
                return [{"models": sorted(client.models())}]
            case "services":
                from qianfan.resources import Service

                return [{"services": [entry["name"] for entry in Service.list().body["result"]["common"]]}]
            case _:
                raise ValueError(name)
    except Exception as error:
        return [_failure(error)]
    return [_failure(one) if isinstance(one, Exception) else _success(one) for one in answers]


def _success(answer: Any) -> dict[str, Any]:
    body = dict(answer.body)
    body["data"] = [
        {**entry, "b64_image": entry["b64_image"][:16], "image": entry.get("image", b"").hex()[:48]}
        for entry in body["data"]
    ]
    return {"body": body, "headers": dict(answer.headers)}


def _failure(error: Exception) -> dict[str, Any]:
    return {"error": type(error).__name__, "code": getattr(error, "error_code", None), "text": str(error)}


if __name__ == "__main__":
    _main()
