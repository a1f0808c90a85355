"""The Qianfan dialect, driven by Baidu's own clients for Python and Node against a real server."""

from __future__ import annotations

import base64
import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from diffuserve.auth.access_tokens import LIFETIME, AccessTokens
from support import node
from support.bce import authorization
from support.clock import FakeClock
from support.qianfan_client import calls
from support.server import Server, command, serving

pytestmark = pytest.mark.acceptance

SECRET = "an example secret of the whole server, 32 or more"
SMALL: dict[str, Any] = {"prompt": "红苹果，a red apple 🍎", "size": "768x768", "steps": 10}
PNG = b"\x89PNG\r\n\x1a\n".hex()
UNKNOWN_KEY = "DSAK" + "A" * 16


@dataclass(frozen=True)
class Scene:
    """A closed server and a pair of keys."""

    server: Server
    access_key: str
    secret_key: str
    folder: Path
    data: Path

    def python(self, *asked: dict[str, Any], **environment: str) -> list[dict[str, Any]]:
        return calls(self.folder, self.server.url, *asked, **environment)

    def by_token(self, *asked: dict[str, Any], **environment: str) -> list[dict[str, Any]]:
        return self.python(*asked, **{"AK": self.access_key, "SK": self.secret_key, **environment})

    def by_signature(self, *asked: dict[str, Any], **environment: str) -> list[dict[str, Any]]:
        keys = {"ACCESS_KEY": self.access_key, "SECRET_KEY": self.secret_key}
        return self.python(*asked, **{**keys, **environment})

    def node(self, *bodies: dict[str, Any], model: str = "Stable-Diffusion-XL", **options: str) -> list[dict[str, Any]]:
        urls = {"QIANFAN_BASE_URL": self.server.url, "QIANFAN_CONSOLE_API_BASE_URL": self.server.url}
        asked = {"options": {**urls, **options}, "calls": [{"body": body, "model": model} for body in bodies]}
        results: list[dict[str, Any]] = node.run("qianfan.mjs", asked)
        return results

    def token(self, *, age: float = 0.0) -> str:
        """A token of the server's own secret that was made `age` seconds ago."""
        return AccessTokens(SECRET.encode(), FakeClock(time.time() - age)).issue(self.access_key)

    def drawn_by(self, dialect: str) -> float:
        """Pictures' jobs that succeeded so far."""
        sought = f'diffuserve_jobs_total{{dialect="{dialect}",status="succeeded"}} '
        lines = self.server.get("/metrics").decode().splitlines()
        return float(next((line.removeprefix(sought) for line in lines if line.startswith(sought)), 0))


def pair(data: Path, *flags: str, **settings: str) -> dict[str, str]:
    common = ("--account", "acme", "--type", "pair", "--json", "--data-dir", data)
    done = command("keys", "create", *common, *flags, cwd=data.parent, **settings)
    assert done.returncode == 0, done.stderr
    made: dict[str, str] = json.loads(done.stdout)
    return made


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("qianfan")
    data = folder / "data"
    made = pair(data, secret_key=SECRET)
    with serving(data, "--engine", "fake", secret_key=SECRET) as server:
        yield Scene(server, made["access_key"], made["secret_key"], folder, data)


def is_success(result: dict[str, Any], count: int = 1) -> bool:
    assert "error" not in result, result
    entries = result["body"]["data"]
    return [entry["index"] for entry in entries] == list(range(1, count + 1))


# Python


def test_python_draws_with_a_token_decodes_and_repeats(scene: Scene) -> None:
    one, two, seeded, again = scene.by_token(
        {"call": "do", **SMALL},
        {"call": "do", **SMALL, "n": 2, "with_decode": "base64"},
        {"call": "do", **SMALL, "seed": 7, "sampler_index": "DPM++ 2M Karras", "style": "Anime", "cfg_scale": 7},
        {"call": "ado", **SMALL, "seed": 7, "negative_prompt": "树", "user_id": "某人", "with_decode": "base64"},
    )
    assert is_success(one)
    assert is_success(two, 2)
    assert all(entry["image"].startswith(PNG) for entry in two["body"]["data"])
    assert is_success(seeded)
    assert is_success(again)
    assert again["body"]["data"][0]["image"].startswith(PNG)
    assert one["body"]["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert one["body"]["object"] == "image"


def test_python_draws_with_a_signature_and_finds_every_model(scene: Scene) -> None:
    listed, default, named, endpoint, asynchronous = scene.by_signature(
        {"call": "models"},
        {"call": "do", **SMALL},
        {"call": "do", **SMALL, "model": "emoji-mini"},
        {"call": "do", **SMALL, "endpoint": "sd_xl"},
        {"call": "ado", **SMALL, "n": 4},
    )
    assert {"Stable-Diffusion-XL", "emoji-mini"} <= set(listed["models"])
    assert is_success(default)
    assert is_success(named)
    assert is_success(endpoint)
    assert is_success(asynchronous, 4)


@pytest.mark.parametrize("name", ["batch_do", "abatch_do"])
def test_python_draws_in_batches(scene: Scene, name: str) -> None:
    before = scene.drawn_by("qianfan")
    prompts = [f"第 {number} 张" for number in range(12)]
    results = scene.by_token({"call": name, "prompt_list": prompts, "size": "768x768", "steps": 10, "worker_num": 6})
    assert len(results) == len(prompts)
    assert all(is_success(result) for result in results)
    # The client draws the first one twice where it is not asynchronous.
    assert scene.drawn_by("qianfan") - before in (12, 13)


def test_python_sees_an_error_with_its_code_and_text(scene: Scene) -> None:
    expected: list[tuple[dict[str, Any], int, str]] = [
        ({"n": 9}, 336003, "n must be a whole number between 1 and 4, got 9"),
        ({"size": "640x480"}, 336003, "size must be one of 768x768"),
        ({"sampler_index": "魔法"}, 336003, "sampler_index must be one of"),
        ({"prompt": "词" * 1025}, 336003, "prompt must be at most 1024 characters long"),
        ({"prompt": "fail:error"}, 336000, "Internal error"),
        ({"prompt": "fail:oom"}, 336000, "Internal error"),
        ({"endpoint": "no_such_model"}, 3, "Unsupported openapi method"),
    ]
    for name in ("do", "ado"):
        results = scene.by_token(*({"call": name, **SMALL, **change} for change, _, _ in expected))
        for result, (_, code, text) in zip(results, expected, strict=True):
            assert (result["error"], result["code"]) == ("APIError", code)
            assert text in result["text"]


@pytest.mark.parametrize(
    ("keys", "text"),
    [({"SK": "wrong"}, "SK(wrong***) is not correct"), ({"AK": UNKNOWN_KEY}, "AK(DSAKAA***) is not correct")],
)
def test_python_tells_which_half_of_the_pair_is_wrong(scene: Scene, keys: dict[str, str], text: str) -> None:
    for result in scene.by_token({"call": "do", **SMALL}, {"call": "ado", **SMALL}, **keys):
        assert result["error"] == "AuthError"
        assert text in result["text"]


def test_python_sees_a_wrong_signature_as_a_failed_certification(scene: Scene) -> None:
    for keys in ({"SECRET_KEY": "wrong"}, {"ACCESS_KEY": UNKNOWN_KEY}):
        (result,) = scene.by_signature({"call": "do", **SMALL}, **keys)
        assert (result["error"], result["code"]) == ("APIError", 14)
        assert "IAM Certification failed" in result["text"]
        assert "Access Key" in result["text"]


def test_python_tells_which_half_is_wrong_where_it_asks_for_the_models(scene: Scene) -> None:
    for keys, text in (
        ({"SECRET_KEY": "wrong"}, "Secret Key(`wrong***`) 错误"),
        ({"ACCESS_KEY": UNKNOWN_KEY}, "Access Key(`DSAKAA***`) 错误"),
    ):
        (result,) = scene.by_signature({"call": "services"}, **keys)
        assert result["error"] == "RequestError"
        assert text in result["text"]


def test_python_repeats_a_call_that_came_too_fast(scene: Scene) -> None:
    slow = pair(scene.data, "--rps", "0.5", secret_key=SECRET)
    keys = {"AK": slow["access_key"], "SK": slow["secret_key"]}
    # The token takes what the key may do in these two seconds.
    once, patient = scene.python(
        {"call": "do", **SMALL}, {"call": "do", **SMALL, "retry_count": 5, "backoff_factor": 0.5}, **keys
    )
    assert (once["error"], once["code"]) == ("APIError", 18)
    assert is_success(patient)


def test_python_sees_a_signature_that_is_over_at_once_as_failed(scene: Scene) -> None:
    expired = {"IAM_SIGN_EXPIRATION_SEC": "0"}
    # A signature of no seconds is over when the clock has moved on from the second that it names.
    results = scene.by_signature(*({"call": "do", **SMALL} for _ in range(3)), **expired)
    assert {result.get("code") for result in results} == {14}


def test_python_refreshes_a_token_that_has_expired_and_draws(scene: Scene) -> None:
    old = scene.token(age=LIFETIME + 60)
    sync, asynchronous = scene.by_token({"call": "do", **SMALL}, {"call": "ado", **SMALL}, ACCESS_TOKEN=old)
    assert is_success(sync)
    assert is_success(asynchronous)


def test_python_with_nothing_but_an_expired_or_foreign_token_says_so(scene: Scene) -> None:
    for token in (scene.token(age=LIFETIME + 60), "24.0123456789abcdef0123456789abcdef.2592000.1.1-1"):
        results = scene.python({"call": "do", **SMALL}, {"call": "ado", **SMALL}, ACCESS_TOKEN=token)
        assert [result["error"] for result in results] == ["AccessTokenExpiredError"] * 2


def test_python_with_nothing_but_a_token_draws(scene: Scene) -> None:
    (result,) = scene.python({"call": "do", **SMALL}, ACCESS_TOKEN=scene.token())
    assert is_success(result)


def test_python_draws_by_a_base_address_with_a_path(scene: Scene) -> None:
    below = {"BASE_URL": f"{scene.server.url}/qianfan", "CONSOLE_API_BASE_URL": f"{scene.server.url}/qianfan"}
    for ask in (scene.by_token, scene.by_signature):
        listed, drawn = ask({"call": "models"}, {"call": "do", **SMALL}, **below)
        assert is_success(drawn)
    assert "emoji-mini" in listed["models"]


def test_python_is_turned_away_without_credentials_and_let_in_by_an_open_server(scene: Scene, tmp_path: Path) -> None:
    (refused,) = scene.python({"call": "do", **SMALL}, NO_AUTH="true")
    assert refused["error"] == "AccessTokenExpiredError"
    with serving(tmp_path / "data", "--engine", "fake") as server:
        for keys in ({"NO_AUTH": "true"}, {"ACCESS_TOKEN": "x"}, {"AK": "any", "SK": "thing"}):
            (drawn,) = calls(tmp_path, server.url, {"call": "do", **SMALL}, **keys)
            assert is_success(drawn)
        (signed,) = calls(tmp_path, server.url, {"call": "do", **SMALL}, ACCESS_KEY="any", SECRET_KEY="thing")
        assert is_success(signed)


def test_a_token_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = pair(data)
    params = {"grant_type": "client_credentials", "client_id": made["access_key"], "client_secret": made["secret_key"]}
    with serving(data, "--engine", "fake") as server:
        token = httpx2.post(f"{server.url}/oauth/2.0/token", params=params).json()["access_token"]
        assert server.stop() == 0
        assert made["secret_key"] not in server.output
        assert token not in server.output
    with serving(data, "--engine", "fake") as server:
        (drawn,) = calls(tmp_path, server.url, {"call": "do", **SMALL}, ACCESS_TOKEN=token)
        assert is_success(drawn)
        command("keys", "create", "--account", "acme", "--data-dir", data, cwd=tmp_path)
        command("keys", "revoke", made["id"], "--data-dir", data, cwd=tmp_path)
        (refused,) = calls(tmp_path, server.url, {"call": "do", **SMALL}, ACCESS_TOKEN=token)
        assert refused["error"] == "AccessTokenExpiredError"


# Node


def test_node_draws_with_a_token(scene: Scene) -> None:
    keys = {"QIANFAN_AK": scene.access_key, "QIANFAN_SK": scene.secret_key}
    one, two = scene.node(SMALL, {**SMALL, "n": 2, "seed": 7}, **keys)
    assert is_success(one)
    assert is_success(two, 2)
    assert base64.b64decode(two["body"]["data"][1]["b64_image"]).hex().startswith(PNG)


def test_node_draws_with_a_signature_and_finds_models_by_the_list(scene: Scene) -> None:
    keys = {"QIANFAN_ACCESS_KEY": scene.access_key, "QIANFAN_SECRET_KEY": scene.secret_key}
    for model in ("Stable-Diffusion-XL", "emoji-mini"):
        (result,) = scene.node(SMALL, model=model, **keys)
        assert is_success(result)


def test_node_sees_errors_as_they_were_sent(scene: Scene) -> None:
    keys = {"QIANFAN_AK": scene.access_key, "QIANFAN_SK": scene.secret_key}
    too_many, failed = scene.node({**SMALL, "n": 9}, {**SMALL, "prompt": "fail:error"}, **keys)
    assert json.loads(too_many["error"])["error_code"] == 336003
    assert json.loads(failed["error"])["error_code"] == 336000


def test_node_with_a_wrong_secret_is_turned_away(scene: Scene) -> None:
    (by_token,) = scene.node(SMALL, QIANFAN_AK=scene.access_key, QIANFAN_SK="wrong")
    assert "Client authentication failed" in by_token["error"]
    (by_signature,) = scene.node(SMALL, QIANFAN_ACCESS_KEY=scene.access_key, QIANFAN_SECRET_KEY="wrong")
    assert json.loads(by_signature["error"])["error_code"] == 14


# The calls of the vendor's documentation, as they stand there


def test_the_documented_calls_work_as_they_are_written(scene: Scene) -> None:
    base = scene.server.url
    # A token, as the sample asks for it: everything in the query, and an empty JSON text as the body.
    url = (
        f"{base}/oauth/2.0/token?grant_type=client_credentials"
        f"&client_id={scene.access_key}&client_secret={scene.secret_key}"
    )
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    token = httpx2.post(url, headers=headers, content=json.dumps("")).json()["access_token"]
    # The sample's body, and curl's own content type for -d.
    body = json.dumps({"prompt": "cat", "negative_prompt": "white", "size": "1024x1024", "steps": 20, "n": 2})
    path = "/rpc/2.0/ai_custom/v1/wenxinworkshop/text2image/sd_xl"
    for kind in ("application/json", "application/x-www-form-urlencoded"):
        answer = httpx2.post(
            f"{base}{path}?access_token={token}", headers={"Content-Type": kind}, content=body, timeout=60
        )
        drawn = answer.json()
        assert [entry["index"] for entry in drawn["data"]] == [1, 2]
        for entry in drawn["data"]:
            picture = base64.b64decode(entry["b64_image"], validate=True)
            assert struct.unpack(">II", picture[16:24]) == (1024, 1024)


def test_a_signature_made_by_hand_works_and_a_changed_one_does_not(scene: Scene) -> None:
    path = "/rpc/2.0/ai_custom/v1/wenxinworkshop/text2image/sd_xl"
    url, keys = f"{scene.server.url}{path}", (scene.access_key, scene.secret_key)
    host = scene.server.url.removeprefix("http://")
    for signed_host in (host, host.partition(":")[0]):
        headers = {"host": signed_host, "content-type": "application/json"}
        signed = authorization(keys, "POST", path, headers, now=time.time())
        sent = {"authorization": signed, "content-type": "application/json"}
        answer = httpx2.post(url, headers=sent, json=SMALL)
        assert "data" in answer.json()
        for skew in (-3600, 3600):
            wrong_clock = authorization(keys, "POST", path, headers, now=time.time() + skew)
            answer = httpx2.post(url, headers={**sent, "authorization": wrong_clock}, json=SMALL)
            assert answer.json()["error_code"] == 14
        sent["content-type"] = "text/plain"
        answer = httpx2.post(url, headers=sent, json=SMALL)
        assert answer.json()["error_code"] == 14
