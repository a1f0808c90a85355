"""Pictures on their way: from the blobs through preparation, an engine and finishing to the artifact."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from PIL import Image, ImageChops

from diffuserve.blobs import MemoryBlobs
from diffuserve.core.errors import ArtifactNotFound
from diffuserve.core.events import EngineEvent
from diffuserve.core.job import Job, JobStatus
from diffuserve.core.ports import Outcome
from diffuserve.core.request import (
    Canvas,
    Control,
    Corner,
    Inpaint,
    InputImage,
    PictureFormat,
    Preprocessor,
    Reference,
    ResolvedRequest,
    Watermark,
    pictures,
)
from diffuserve.engine.fake import FakeEngine
from diffuserve.jobs.drawing import Drawing
from diffuserve.jobs.hub import Hub
from diffuserve.jobs.ids import input_key
from diffuserve.jobs.output import Output, Pictures
from diffuserve.jobs.untraced import Untraced
from diffuserve.media.finish import finish
from diffuserve.media.prepare import NO_FACE, prepare
from diffuserve.media.prepared import Prepared
from diffuserve.media.vision import OPENCV
from support.clock import FakeClock
from support.models import job as a_job
from support.models import resolved
from support.pictures import opened
from support.scenes import input_picture, landscape, portrait

pytestmark = pytest.mark.integration

SIZE = (128, 96)


class Watched(FakeEngine):
    """The fake engine, which remembers what it was given."""

    request: ResolvedRequest

    async def generate(
        self, job_id: int, request: ResolvedRequest, *, account: str = "", priority: int = 0
    ) -> AsyncIterator[EngineEvent]:
        self.request = request
        async for event in super().generate(job_id, request):
            yield event


class CountedBlobs(MemoryBlobs):
    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    async def get(self, key: str) -> bytes:
        self.read.append(key)
        return await super().get(key)


class Studio:
    """A drawing with all that it needs, without a store or a queue."""

    def __init__(self, media: Pictures | None = None) -> None:
        clock = FakeClock()
        self.blobs = CountedBlobs()
        self.engine = Watched(0.0, clock)
        media = media or Pictures(prepare=partial(prepare, vision=OPENCV), finish=finish)
        output = Output(self.blobs, clock, media)
        self.drawing = Drawing(self.engine, self.blobs, Hub(), output, media, Untraced())

    async def draw(self, **changes: Any) -> tuple[Outcome, list[bytes]]:
        values = {"width": SIZE[0], "height": SIZE[1], "canvas": Canvas(*SIZE, *SIZE), **changes}
        job: Job = a_job(request=resolved(**values))
        for image in pictures(job.request):
            await self.blobs.put(input_key(image.digest), image.data)
        await self.engine.start()
        outcome = await self.drawing.draw(job)
        return outcome, [await self.blobs.get(made.blob_key) for made in outcome.artifacts]


def mask(*box: int) -> InputImage:
    image = Image.new("L", SIZE)
    image.paste(255, box)  # type: ignore[arg-type]
    return input_picture(image)


async def test_a_job_with_everything_ends_in_the_file_that_was_asked_for() -> None:
    studio = Studio()
    source = input_picture(landscape(*SIZE))
    outcome, (data, _) = await studio.draw(
        seeds=(1, 2),
        init_image=source,
        inpaint=Inpaint(mask(20, 20, 60, 60), 2),
        controls=(Control("canny", preprocessor=Preprocessor.CANNY), Control("tile", source)),
        reference=Reference(input_picture(portrait()), face=True),
        watermark=Watermark("由 AI 生成", Corner.TOP_RIGHT, 0.9, 0.1),
        format=PictureFormat.JPEG,
        quality=95,
    )
    assert (outcome.status, outcome.notes, outcome.error) == (JobStatus.SUCCEEDED, (), None)
    artifact = outcome.artifacts[0]
    assert artifact.media_type == "image/jpeg" and artifact.blob_key.endswith(f"{artifact.id}.jpeg")
    assert (artifact.size, artifact.digest) == (len(data), hashlib.sha256(data).hexdigest())
    picture = opened(data)
    assert (picture.format, picture.size) == ("JPEG", SIZE) == ("JPEG", (artifact.width, artifact.height))
    changed = ImageChops.difference(picture, landscape(*SIZE)).convert("L")
    assert changed.crop((25, 25, 55, 55)).getextrema()[1] > 60, "the masked part is repainted"
    assert changed.crop((80, 4, 124, 16)).getextrema()[1] > 60, "and the watermark is there"
    assert changed.crop((0, 72, 128, 96)).getextrema()[1] < 40, "and the rest is what JPEG makes of the original"

    given = studio.engine.request
    assert given.init_image is not None and given.inpaint is not None and given.reference is not None
    canny, tile = (control.image for control in given.controls)
    assert canny is not None
    assert sorted(colour for _, colour in opened(canny.data).getcolors()) == [(0, 0, 0), (255, 255, 255)]
    assert tile is not None and tile.data == given.init_image.data
    assert given.reference.image.width < 320
    assert studio.blobs.read.count(input_key(source.digest)) == 1, "read once, though it serves twice"


async def test_a_missing_face_is_noted_and_the_job_goes_on_without_the_reference() -> None:
    studio = Studio()
    outcome, files = await studio.draw(reference=Reference(input_picture(landscape()), face=True))
    assert outcome.status is JobStatus.SUCCEEDED and len(files) == 1
    assert outcome.notes == (NO_FACE,)
    assert studio.engine.request.reference is None


async def test_a_repainted_part_leaves_the_rest_bit_for_bit() -> None:
    studio = Studio()
    canvas = Canvas(136, 104, *SIZE)
    outcome, files = await studio.draw(
        seeds=(3, 4),
        init_image=input_picture(landscape(*SIZE)),
        inpaint=Inpaint(mask(70, 40, 90, 60), 3, padding=8),
        canvas=canvas,
        strength=1.0,
    )
    assert outcome.status is JobStatus.SUCCEEDED, outcome.error
    assert files[0] != files[1]
    for data in files:
        box = ImageChops.difference(opened(data), landscape(*SIZE)).getbbox()
        assert box is not None
        assert 58 <= box[0] <= 71 and 28 <= box[1] <= 41 and 89 <= box[2] <= 102 and 59 <= box[3] <= 72
    given = studio.engine.request.init_image
    assert given is not None and (given.width, given.height) == (136, 104)


@pytest.mark.parametrize("form", PictureFormat)
async def test_what_is_stored_is_what_the_artifact_says(form: PictureFormat) -> None:
    outcome, (data,) = await Studio().draw(format=form)
    (artifact,) = outcome.artifacts
    assert opened(data).get_format_mimetype() == artifact.media_type == form.media_type
    assert artifact.blob_key.rpartition(".")[2] == form.value


async def test_a_job_without_pictures_is_not_prepared_at_all() -> None:
    def never(request: ResolvedRequest) -> Prepared:
        raise AssertionError("nothing is to be prepared")

    outcome, files = await Studio(Pictures(prepare=never, finish=finish)).draw()
    assert outcome.status is JobStatus.SUCCEEDED and len(files) == 1


async def test_a_picture_that_is_gone_fails_the_job() -> None:
    studio = Studio()
    source = input_picture(landscape())

    async def gone(key: str) -> bytes:
        raise ArtifactNotFound()

    studio.blobs.get = gone  # type: ignore[method-assign]
    outcome, _ = await studio.draw(controls=(Control("canny", source),))
    assert outcome.status is JobStatus.FAILED
    assert outcome.error is not None and outcome.error.code == "storage_failed"
    assert "gone" in outcome.error.message


async def test_preparing_a_picture_does_not_hold_up_the_event_loop() -> None:
    turns = 0

    def slow(request: ResolvedRequest) -> Prepared:
        nonlocal turns
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(timeout=30)
        turns += 1
        return Prepared(request)

    loop = asyncio.get_running_loop()
    await Studio(Pictures(prepare=slow, finish=finish)).draw(init_image=input_picture(landscape()))
    assert turns == 1


async def test_only_a_few_jobs_at_once_have_their_pictures_in_memory() -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def counted(request: ResolvedRequest) -> Prepared:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(timeout=30)
        with lock:
            inside -= 1
        return prepare(request, OPENCV)

    loop = asyncio.get_running_loop()
    studio = Studio(Pictures(prepare=counted, finish=finish))
    ended = await asyncio.gather(*(studio.draw(init_image=input_picture(landscape())) for _ in range(12)))
    assert all(outcome.status is JobStatus.SUCCEEDED for outcome, _ in ended)
    assert 1 <= most <= 4
