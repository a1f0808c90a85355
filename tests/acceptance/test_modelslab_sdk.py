"""The ModelsLab dialect, driven by the vendor's own Python client against a real server, and by two servers behind one key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from modelslab_py.core.apis.community import Community
from modelslab_py.core.apis.realtime import Realtime
from modelslab_py.core.apis.video import Video
from modelslab_py.core.client import Client
from modelslab_py.schemas.community import ControlNet, Image2Image, Inpainting, QwenText2Image, Text2Image
from modelslab_py.schemas.realtime import RealtimeImage2ImageSchema, RealtimeText2ImageSchema
from modelslab_py.schemas.video import Image2Video, Text2Video, Text2VideoUltra
from modelslab_py.utils.image_utils import base64_to_image, image_to_base64

from support.pictures import opened, picture
from support.postgres import cluster, why_not
from support.s3 import s3_service
from support.server import Server, call, command, serving

pytestmark = [pytest.mark.acceptance, pytest.mark.filterwarnings("ignore:The `dict` method:DeprecationWarning")]

PNG = b"\x89PNG"
SMALL: dict[str, Any] = {"prompt": "a red apple", "width": 128, "height": 128, "num_inference_steps": 4}
PICTURE = image_to_base64(opened(picture(128, 128)))
MASK = image_to_base64(opened(picture(128, 128, colour="white")))
SECRET = "an example secret of both servers, 32 or more"


def new_key(data: Path, *flags: str, **settings: str) -> str:
    done = command(
        "keys", "create", "--account", "acme", "--json", "--data-dir", data, *flags, cwd=data.parent, **settings
    )
    assert done.returncode == 0, done.stderr
    made: dict[str, str] = json.loads(done.stdout)
    return made["token"] if "token" in made else made["secret"]


@dataclass(frozen=True)
class Scene:
    server: Server
    key: str

    def client(self, key: str | None = None, **options: int) -> Client:
        client = Client(key or self.key, **{"fetch_retry": 30, "fetch_timeout": 1, **options})
        client.base_url = f"{self.server.url}/api/"
        return client


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    data = tmp_path_factory.mktemp("modelslab") / "data"
    key = new_key(data)
    with serving(data, "--engine", "fake", modelslab_wait_seconds="10") as server:
        yield Scene(server, key)


def pictures(answer: dict[str, Any], count: int = 1) -> list[bytes]:
    assert answer["status"] == "success", answer
    found = [call(link) for link in answer["output"]]
    assert len(found) == count and all(data.startswith(PNG) for data in found)
    return found


@pytest.mark.parametrize("enterprise", [False, True])
def test_the_client_draws_in_every_way(scene: Scene, enterprise: bool) -> None:
    api = Community(client=scene.client(), enterprise=enterprise)
    first, _ = pictures(api.text_to_image(Text2Image(**SMALL, samples=2, seed=7)), 2)
    again = pictures(api.text_to_image(Text2Image(**SMALL, seed=7, scheduler="UniPCMultistepScheduler")))
    assert opened(first).size == opened(again[0]).size == (128, 128)
    pictures(api.image_to_image(Image2Image(**SMALL, init_image=PICTURE, strength=0.5, clip_skip=2)))
    pictures(api.inpainting(Inpainting(**SMALL, init_image=PICTURE, mask_image=MASK)))


def test_the_same_seed_draws_the_same_picture(scene: Scene) -> None:
    api = Community(client=scene.client())
    one, two = (pictures(api.text_to_image(Text2Image(**SMALL, seed=42))) for _ in range(2))
    assert one == two


def test_the_client_fetches_until_a_picture_is_there(scene: Scene) -> None:
    api = Community(client=scene.client(), enterprise=True)
    told = api.text_to_image(Text2Image(**SMALL, instant_response=True, track_id="order-1"))
    assert (told["status"], told["meta"]["track_id"]) == ("processing", "order-1")
    assert told["fetch_result"] == f"{scene.server.url}/api/v1/enterprise/images/fetch/{told['id']}"
    done = api.fetch(str(told["id"]))
    pictures(done)
    assert [call(link)[:4] for link in told["future_links"]] == [PNG]


def test_the_asynchronous_client_draws_and_fetches(scene: Scene) -> None:
    async def draw() -> dict[str, Any]:
        async with scene.client(fetch_timeout=5) as client:
            api = Community(client=client)
            told = await api.async_text_to_image(Text2Image(**SMALL))
            fetched: dict[str, Any] = await api.async_fetch(str(told["id"]))
            return fetched

    pictures(asyncio.run(draw()))


def test_realtime_calls_answer_with_text_where_that_is_asked_for(scene: Scene) -> None:
    api = Realtime(client=scene.client())
    told = api.text_to_image(RealtimeText2ImageSchema(**SMALL, base64=True))
    assert base64_to_image(told["output"][0]).size == (128, 128)
    pictures(api.image_to_image(RealtimeImage2ImageSchema(**SMALL, init_image=PICTURE, strength=0.4)))


def test_controlnets_that_are_there_draw_and_others_are_named(scene: Scene) -> None:
    api = Community(client=scene.client())
    pictures(api.controlnet(ControlNet(**SMALL, init_image=PICTURE, controlnet_model="canny", controlnet_type="canny")))
    with pytest.raises(Exception, match=r"status code 400.*controlnet_model must be one of"):
        api.controlnet(ControlNet(**SMALL, init_image=PICTURE, controlnet_model="depth"))


def test_families_of_their_own_and_their_models(scene: Scene) -> None:
    api = Community(client=scene.client(), enterprise=True)
    pictures(api.qwen_text_to_image(QwenText2Image(**SMALL)))
    with pytest.raises(Exception, match=r"status code 400.*Model not found: nope"):
        api.text_to_image(Text2Image(**SMALL, model_id="nope"))


def test_videos_are_refused_in_the_vendors_shape(scene: Scene) -> None:
    model = {"model_id": "emoji-mini"}
    for enterprise in (False, True):
        api = Video(client=scene.client(), enterprise=enterprise)
        for draw, schema in (
            (api.text_to_video, Text2Video(prompt="x", **model)),
            (api.image_to_video, Image2Video(prompt="x", init_image=PICTURE, **model)),
            (api.text_to_video_ultra, Text2VideoUltra(prompt="x")),
        ):
            with pytest.raises(Exception, match=r'status code 501: .*"status":"error".*no video engine yet'):
                draw(schema)


def test_the_management_calls(scene: Scene) -> None:
    api = Community(client=scene.client(), enterprise=True)
    assert api.system_details() == {"model_count": 1, "queue_time": 0, "status": "ok"}
    assert api.clear_cache()["status"] == "success"
    assert api.clear_queue()["status"] == "success"
    for call_of_an_administrator in (api.restart, api.update):
        with pytest.raises(Exception, match=r"status code 403"):
            call_of_an_administrator()


def test_a_wrong_key_is_refused(scene: Scene) -> None:
    with pytest.raises(Exception, match=r"status code 401.*Invalid API key"):
        Community(client=scene.client("wrong")).text_to_image(Text2Image(**SMALL))


def test_two_servers_behind_one_key_share_the_queue_and_answer_for_each_other(tmp_path: Path) -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with cluster() as postgres, s3_service(tmp_path / "s3") as storage:
        shared = {"database_url": postgres.database(), "secret_key": SECRET, **storage.settings()}
        upgraded = command("db", "upgrade", cwd=tmp_path, **shared)
        assert upgraded.returncode == 0, upgraded.stderr
        key = new_key(tmp_path / "keys", **shared)
        slow = {**shared, "fake_step_seconds": "2", "modelslab_wait_seconds": "0"}
        with (
            serving(tmp_path / "one", "--engine", "fake", **slow) as one,
            serving(tmp_path / "two", "--engine", "fake", **slow) as two,
        ):
            asking = Community(client=Scene(one, key).client(), enterprise=True)
            fetching = Community(client=Scene(two, key).client(), enterprise=True)
            # More than one worker takes at once: the other one finds the rest.
            told = [
                asking.text_to_image(Text2Image(**SMALL, seed=number, base64=number == 0, loadbalancer="yes"))
                for number in range(48)
            ]
            assert {answer["status"] for answer in told} == {"processing"}
            assert all(answer["eta"] >= 1 for answer in told)
            done = [fetching.fetch(str(answer["id"])) for answer in told]
            assert [answer["meta"]["seed"] for answer in done] == list(range(48))
            # What was asked of one is remembered by the other.
            assert base64_to_image(done[0]["output"][0]).size == (128, 128)
            assert all(call(answer["output"][0]).startswith(PNG) for answer in done[1:])
            assert done[1]["output"][0].startswith(storage.endpoint)
            assert call(told[1]["future_links"][0].replace(one.url, two.url)).startswith(PNG)
            assert all(_drawn_by(server) > 0 for server in (one, two))
            assert _drawn_by(one) + _drawn_by(two) == 48


def _drawn_by(server: Server) -> float:
    sought = b'diffuserve_jobs_total{dialect="modelslab",status="succeeded"} '
    lines = call(f"{server.url}/metrics").splitlines()
    return float(next((line.removeprefix(sought) for line in lines if line.startswith(sought)), 0))
