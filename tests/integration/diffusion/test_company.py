"""A picture does not depend on its company: not on who shares its batch, who joins, who leaves, who fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffuserve.core.events import ArtifactReady, Failed, Finished, Preview, Progress, Started
from diffuserve.core.model import Family
from diffuserve.core.request import Canvas
from diffuserve.core.samplers import SAMPLERS
from diffuserve.engine.diffusion import loop as loop_module
from diffuserve.engine.diffusion.sample import Sample
from support import tiny_models
from support.studio import Studio, difference, input_image, picture, request

pytestmark = pytest.mark.integration

STRANGERS = [
    request(
        "a dog on a hill", seed=2, num_inference_steps=7, guidance_scale=4.0, sampler="dpmpp_2m", schedule="karras"
    ),
    request("x", negative_prompt="y", seed=3, num_inference_steps=3, guidance_scale=1.0, sampler="euler_a"),
    request("four", seed=6, num_inference_steps=4, sampler="unipc", init_image=input_image(picture()), strength=0.7),
    request("five", seed=7, num_inference_steps=3, sampler="heun"),
]


@pytest.fixture(scope="session")
def bit_exact(folders: dict[Family, Path]) -> dict[Family, Studio]:
    """Engines in reproducible mode: every forward has the same number of rows."""
    return {
        family: Studio(tiny_models.info(folder, family), reproducible=True, max_batch=6)
        for family, folder in folders.items()
    }


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("family", Family)
def test_strangers_in_the_batch_do_not_change_a_picture(studios, family, sampler):
    mine = request("a cat", seed=1, sampler=sampler)
    [alone] = studios[family].draw(mine)
    shared = studios[family].draw(*STRANGERS, mine)[-1]
    assert difference(alone, shared) <= 1


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("family", Family)
def test_reproducible_pictures_are_equal_bit_for_bit_in_any_company(bit_exact, family, sampler):
    studio = bit_exact[family]
    mine = request("a cat", seed=1, sampler=sampler)
    [alone] = studio.draw(mine)
    last = studio.draw(*STRANGERS, mine)[-1]
    first = studio.draw(mine, *reversed(STRANGERS))[0]
    assert np.array_equal(alone, last)
    assert np.array_equal(alone, first)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_reproducible_pictures_are_equal_bit_for_bit_on_two_threads_too(folders, dtype):
    studio = Studio(
        tiny_models.info(folders[Family.SD15], Family.SD15), reproducible=True, max_batch=8, dtype=dtype, threads=2
    )
    mine = request("a cat", seed=1)
    [alone] = studio.draw(mine)
    try:
        assert np.array_equal(alone, studio.draw(*STRANGERS, mine)[-1])
    finally:
        torch.set_num_threads(1)  # it counts for the whole process


def test_joining_and_leaving_in_the_middle_changes_nobody(bit_exact):
    studio = bit_exact[Family.SD15]
    everybody = [request("a cat", seed=1, num_inference_steps=9), *STRANGERS]
    alone = [studio.draw(asked)[0] for asked in everybody]
    studio.events.clear()

    def arrive(turn: int) -> None:
        if turn < len(everybody):
            studio.loop.submit(turn + 1, everybody[turn])
        if turn == 4:
            studio.loop.cancel(2)

    studio.run(each_turn=arrive)
    for job_id, expected in enumerate(alone, start=1):
        if job_id != 2:
            assert np.array_equal(studio.picture(job_id), expected)


def test_samples_that_can_share_a_forward_do(studios):
    studio = studios[Family.SD15]
    before = studio.loop.counters()
    studio.draw(*(request(f"number {n}", seed=n, num_inference_steps=5) for n in range(4)))
    after = studio.loop.counters()
    assert after.rows - before.rows == 20
    assert after.forwards - before.forwards == 5


def test_sizes_that_cannot_share_a_tensor_take_turns(studios):
    studio = studios[Family.SD15]
    small, large = request(seed=1), request(seed=2, canvas=Canvas(96, 96, 96, 96))
    [alone] = studio.draw(large)
    together = studio.draw(small, large)
    assert together[0].shape == (64, 64, 3)
    assert difference(together[1], alone) <= 1


def test_a_short_job_does_not_wait_for_a_long_one_to_end(folders):
    """Two sizes cannot share a forward, so the ten steps of one are interleaved with the fifty of the other."""
    studio = Studio(tiny_models.info(folders[Family.SD15], Family.SD15))
    studio.loop.submit(1, request(num_inference_steps=50))
    studio.loop.submit(2, request(num_inference_steps=10, canvas=Canvas(48, 48, 48, 48)))
    ended: dict[int, int] = {}

    def watch(turn: int) -> None:
        for job_id in (1, 2):
            if job_id not in ended and any(isinstance(e, Finished) for e in studio.events[job_id]):
                ended[job_id] = turn

    studio.run(each_turn=watch)
    assert ended[2] <= 22
    assert 1 not in ended or ended[1] > ended[2]


def test_cancelling_takes_effect_before_the_next_step(studios):
    studio = studios[Family.SD15]
    studio.events.clear()
    studio.loop.submit(1, request(num_inference_steps=50))
    for _ in range(3):
        studio.loop.step()
    studio.loop.cancel(1)
    forwards = studio.loop.counters().forwards
    assert not studio.loop.step()
    assert studio.loop.counters().forwards == forwards
    assert isinstance(studio.events[1][-1], Failed)
    assert studio.events[1][-1].error.code == "canceled"


def test_an_exception_in_one_sample_fails_that_job_only(studios, monkeypatch):
    studio = studios[Family.SD15]
    bystander = request("a cat", seed=1)
    [alone] = studio.draw(bystander)
    advance = Sample.advance

    def broken(self: Sample, prediction: torch.Tensor) -> torch.Tensor | None:
        if self.job_id == 2 and self.done == 2:
            raise RuntimeError("a fault in one sampler")
        return advance(self, prediction)

    monkeypatch.setattr(Sample, "advance", broken)
    studio.events.clear()
    studio.loop.submit(1, bystander)
    studio.loop.submit(2, request("a dog", seed=2))
    studio.run()
    assert "a fault in one sampler" in studio.events[2][-1].error.message
    assert difference(studio.picture(1), alone) <= 1


def test_a_shared_forward_that_fails_is_tried_one_by_one_and_only_the_guilty_fails(studios, monkeypatch):
    studio = studios[Family.SD15]
    [alone] = studio.draw(request("a cat", seed=1))
    forward = loop_module.forward

    def broken(model, samples, buckets):
        if any(sample.job_id == 2 for sample in samples):
            raise RuntimeError("a fault in the shared pass")
        return forward(model, samples, buckets)

    monkeypatch.setattr(loop_module, "forward", broken)
    studio.events.clear()
    studio.loop.submit(1, request("a cat", seed=1))
    studio.loop.submit(2, request("a dog", seed=2))
    studio.run()
    assert isinstance(studio.events[2][-1], Failed)
    assert difference(studio.picture(1), alone) <= 1


def test_running_out_of_memory_halves_the_batch_and_goes_on(folders, monkeypatch):
    studio = Studio(tiny_models.info(folders[Family.SD15], Family.SD15), max_batch=8)
    forward = loop_module.forward
    largest = []

    def small_device(model, samples, buckets):
        lanes = sum(sample.lanes for sample in samples)
        if lanes > 4:
            raise torch.OutOfMemoryError("no room")
        largest.append(lanes)
        return forward(model, samples, buckets)

    monkeypatch.setattr(loop_module, "forward", small_device)
    pictures = studio.draw(*(request(seed=n) for n in range(4)))
    assert len(pictures) == 4
    assert max(largest) == 4


def test_a_picture_that_never_fits_fails_with_a_hint(studios, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(loop_module, "forward", full)
    studio = studios[Family.SD15]
    studio.events.clear()
    studio.loop.submit(1, request())
    studio.run()
    assert studio.events[1][-1].error.code == "out_of_memory"


def test_not_a_number_fails_the_job_and_says_what_to_try(studios, monkeypatch):
    forward = loop_module.forward
    monkeypatch.setattr(loop_module, "forward", lambda *a: [x * float("nan") for x in forward(*a)])
    studio = studios[Family.SD15]
    studio.events.clear()
    studio.loop.submit(1, request())
    studio.run()
    assert "float32" in studio.events[1][-1].error.message


def test_a_sampler_that_refuses_its_steps_fails_its_job_with_the_reason(studios):
    studio = studios[Family.SD15]
    studio.events.clear()
    studio.loop.submit(1, request(sampler="lcm", num_inference_steps=900))
    studio.run()
    assert isinstance(studio.events[1][-1], Failed)


def test_events_come_in_order_and_progress_counts_every_step(studios):
    studio = studios[Family.SD15]
    studio.events.clear()
    studio.loop.submit(1, request(seeds=(1, 2), num_inference_steps=4, preview_every=2))
    studio.run()
    events = studio.events[1]
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    progress = [e.done for e in events if isinstance(e, Progress)]
    assert progress == sorted(progress)
    assert progress[-1] == 8
    assert [e.total for e in events if isinstance(e, Progress)][-1] == 8
    assert {e.index for e in events if isinstance(e, ArtifactReady)} == {0, 1}
    usage = events[-1].usage
    assert (usage.images, usage.steps, usage.pixels) == (2, 8, 2 * 64 * 64)
    assert usage.device_seconds > 0


@pytest.mark.parametrize("sampler", ["euler", "ddim", "dpmpp_2m", "heun", "plms"])
def test_previews_are_small_pictures_of_unfinished_work(studios, sampler):
    studio = studios[Family.SD15]
    studio.events.clear()
    studio.loop.submit(1, request(num_inference_steps=6, preview_every=2, sampler=sampler))
    studio.run()
    previews = [e for e in studio.events[1] if isinstance(e, Preview)]
    assert previews
    assert all(len(p.pixels) == p.width * p.height * 3 for p in previews)


def test_a_tiny_autoencoder_with_eight_channels_draws_from_text_and_from_a_picture(tmp_path):
    studio = Studio(tiny_models.info(tiny_models.save_tiny_vae(tmp_path), Family.SD15))
    pictures = studio.draw(request(), request(init_image=input_image(picture()), strength=0.5))
    assert [p.shape for p in pictures] == [(64, 64, 3)] * 2


def test_nothing_is_left_behind_when_the_work_is_done(studios):
    studio = studios[Family.SD15]
    studio.draw(*STRANGERS)
    counters = studio.loop.counters()
    assert (counters.running, counters.waiting) == (0, 0)


def test_a_model_that_was_distilled_with_a_guidance_embedding_takes_one_row(tmp_path):
    folder = tiny_models.save_sd15(tmp_path, time_cond_proj_dim=16)
    studio = Studio(tiny_models.info(folder, Family.SD15))
    weak, strong = studio.draw(request(guidance_scale=2.0), request(guidance_scale=8.0))
    assert difference(weak, strong) > 0
