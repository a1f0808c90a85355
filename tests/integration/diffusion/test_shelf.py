"""What is loaded beside running work, shared, let go; and what goes wrong with it, told to whom it concerns only."""

from __future__ import annotations

import dataclasses
import gc
import json
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from diffuserve.core.errors import ConfigurationError, GenerationFailed
from diffuserve.core.events import Failed, Finished, Progress
from diffuserve.core.model import ControlNetInfo, Family, ModelInfo
from diffuserve.core.request import Control, Lora, Reference, ResolvedRequest
from diffuserve.engine.diffusion import controlnet, ip_adapter, models, weights
from diffuserve.engine.diffusion.sample import Run
from diffuserve.engine.diffusion.shelf import GIB, HUNGER, Shelf, Volume
from support import tiny_controls, tiny_models
from support.oracles import Kit, grain
from support.studio import Studio, difference, input_image, request

pytestmark = pytest.mark.integration

PATIENCE = 3000
"""Turns after which a loop goes round in circles."""


@pytest.fixture(scope="module")
def shop(folders: dict[Family, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelInfo]:
    """Three models of the same size with different weights, and one of the other family."""
    root = tmp_path_factory.mktemp("shop")
    infos = {}
    for seed, name in enumerate(("tiny", "second", "third")):
        folder = shutil.copytree(folders[Family.SD15], root / name)
        _shift(folder / "unet" / "diffusion_pytorch_model.safetensors", seed)
        infos[name] = tiny_models.info(folder, Family.SD15, name)
    return infos | {"large": tiny_models.info(folders[Family.SDXL], Family.SDXL, "large")}


def _shift(path: Path, seed: int) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    noise = torch.Generator().manual_seed(seed)
    tensors["conv_in.weight"] += 0.3 * seed * torch.randn(tensors["conv_in.weight"].shape, generator=noise)
    save_file(tensors, path)


def asked(model: str = "tiny", *, seed: int = 1, **fields: Any) -> ResolvedRequest:
    return request(**{"seed": seed, "size": 32, "num_inference_steps": 3, "model": model, **fields})


def steered(kit: Kit, model: str = "tiny", **fields: Any) -> dict[str, Any]:
    return {"controls": (Control("edges", input_image(grain(32, 32, 5)), **fields),)}


def referred(adapter: str = "base") -> dict[str, Any]:
    return {"reference": Reference(input_image(grain(32, 32, 6)), 0.7, adapter)}


def estimated(*paths: str | Path) -> float:
    """GiB that the shelf expects of these folders and files in float32: twice what they take on disk."""
    sizes = [
        file.stat().st_size
        for path in map(Path, paths)
        for file in ([path] if path.is_file() else path.rglob("*.safetensors"))
    ]
    return 2 * sum(sizes) / GIB


def patient(studio: Studio, each_turn: Callable[[], None] = lambda: None) -> None:
    def watch(turn: int) -> None:
        assert turn < PATIENCE, f"still loading {studio.loop.counters().loading} and waiting"
        each_turn()

    studio.run(each_turn=watch)


def draw(studio: Studio, *requests: ResolvedRequest) -> list[np.ndarray]:
    """As `Studio.draw`, but never for ever."""
    studio.events.clear()
    for job_id, one in enumerate(requests, start=1):
        studio.loop.submit(job_id, one)
    patient(studio)
    return [studio.picture(job_id) for job_id in range(1, len(requests) + 1)]


def ended(studio: Studio, job_id: int) -> bool:
    return any(isinstance(event, Finished | Failed) for event in studio.events[job_id])


class Door:
    """Holds up whoever loads the thing of this name, until it is opened."""

    def __init__(self, name: str) -> None:
        self.name, self.reached, self._opened = name, threading.Event(), threading.Event()

    def pass_through(self, name: str) -> None:
        if name == self.name:
            self.reached.set()
            assert self._opened.wait(60), "nobody opened the door"

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Door]]:
    doors: list[Door] = []

    def guarded(load: Any) -> Any:
        def wait_and_load(info: Any, *rest: Any, **more: Any) -> Any:
            for one in doors:
                one.pass_through(info.name)
            return load(info, *rest, **more)

        return wait_and_load

    for module in (models, controlnet, ip_adapter):
        monkeypatch.setattr(module, "load", guarded(module.load))

    def make(name: str) -> Door:
        doors.append(Door(name))
        return doors[-1]

    yield make
    for one in doors:
        one.open()


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all that is read, in order."""
    names: list[str] = []

    def counted(load: Any) -> Any:
        def count_and_load(info: Any, *rest: Any, **more: Any) -> Any:
            names.append(info.name)
            return load(info, *rest, **more)

        return count_and_load

    for module in (models, controlnet, ip_adapter):
        monkeypatch.setattr(module, "load", counted(module.load))
    return names


# Beside running work.


def test_a_second_model_loads_while_the_first_one_draws_on(shop, door):
    held = door("second")
    studio = Studio(shop["tiny"], shop["second"])
    studio.loop.submit(2, asked("second"))
    studio.loop.submit(1, asked(num_inference_steps=6))
    while not ended(studio, 1):
        assert studio.loop.step()
    assert held.reached.is_set()
    assert studio.loop.counters().loading == ("model second",)
    assert studio.events[2] == []
    studio.loop.submit(3, asked(seed=3))  # who comes later does not wait for it either
    while not ended(studio, 3):
        assert studio.loop.step()
    held.open()
    patient(studio)
    expected = draw(Studio(shop["second"]), asked("second"))
    assert difference(studio.picture(2), expected[0]) <= 1
    assert difference(studio.picture(2), studio.picture(1)) > 1


@pytest.mark.parametrize("what", ["edges", "base"])
def test_what_steers_loads_while_others_draw_on(kits, door, what):
    kit = kits[Family.SD15]
    held = door(what)
    studio = Studio(*kit.infos[:1], **kit.tools)
    studio.loop.submit(1, asked(**(steered(kit) if what == "edges" else referred())))
    studio.loop.submit(2, asked(seed=2, num_inference_steps=6))
    while not ended(studio, 2):
        assert studio.loop.step()
    assert held.reached.is_set()
    assert studio.events[1] == []
    held.open()
    patient(studio)
    assert isinstance(studio.events[1][-1], Finished)


def test_a_job_that_is_cancelled_while_its_model_loads_leaves_the_model_to_others(shop, door, loads):
    held = door("second")
    studio = Studio(shop["tiny"], shop["second"])
    studio.loop.submit(1, asked("second"))
    assert studio.loop.step()
    studio.loop.cancel(1)
    assert not studio.loop.step()
    held.open()
    draw(studio, asked("second"))
    assert loads.count("second") == 1


def test_many_who_want_one_model_load_it_once(shop, loads):
    studio = Studio(shop["tiny"], shop["second"])
    draw(studio, *(asked("second", seed=seed) for seed in range(5)), asked())
    draw(studio, asked("second"))
    assert sorted(loads) == ["second", "tiny"]


def test_two_controls_of_one_net_load_it_once(kits, loads):
    kit = kits[Family.SD15]
    studio = Studio(*kit.infos[:1], **kit.tools)
    twice = steered(kit)["controls"] * 2
    draw(studio, asked(controls=twice), asked(seed=2, controls=twice))
    assert sorted(loads) == ["edges", "tiny"]


# Within a budget.


def test_what_was_used_longest_ago_is_let_go(shop, loads):
    room = 1.9 * estimated(shop["tiny"].path)  # each takes half of the estimate once it is there
    studio = Studio(*(shop[name] for name in ("tiny", "second", "third")), model_memory=room)
    for name in ("tiny", "second", "tiny", "third"):
        draw(studio, asked(name))
    assert studio.loop.counters().models == ("tiny", "third")
    draw(studio, asked("second"))
    assert studio.loop.counters().models == ("third", "second")
    assert loads == ["tiny", "second", "third", "second"]


def test_nothing_in_use_is_let_go_and_never_are_more_loaded_than_fit(shop):
    studio = Studio(shop["tiny"], shop["second"], model_memory=1.2 * estimated(shop["tiny"].path))
    studio.loop.submit(1, asked(num_inference_steps=8))
    studio.loop.submit(2, asked("second"))

    def watch() -> None:
        counters = studio.loop.counters()
        assert len(counters.models) + len(counters.loading) <= 1
        if not ended(studio, 1):
            assert counters.models == ("tiny",)

    patient(studio, watch)
    assert isinstance(studio.events[2][-1], Finished)


@pytest.mark.parametrize("order", [("second", "third"), ("third", "second"), ("second", "third", "tiny", "second")])
def test_jobs_that_wait_for_models_of_which_one_fits_are_all_drawn(shop, order):
    """What was loaded for one must not be let go for another before the first one took it."""
    studio = Studio(
        *(shop[name] for name in ("tiny", "second", "third")), model_memory=1.2 * estimated(shop["tiny"].path)
    )
    everybody = [asked(name, seed=seed) for seed, name in enumerate(order)]
    drawn = draw(studio, *everybody)
    for one, picture in zip(everybody, drawn, strict=True):
        assert difference(picture, draw(Studio(shop[one.model]), one)[0]) <= 1


def test_jobs_of_several_accounts_that_wait_for_models_of_which_one_fits_are_all_drawn(shop):
    studio = Studio(
        *(shop[name] for name in ("tiny", "second", "third")), model_memory=1.2 * estimated(shop["tiny"].path)
    )
    for job_id, name in enumerate(("second", "third", "tiny") * 2, start=1):
        studio.loop.submit(job_id, asked(name, seeds=(1, 2)), account=f"account {job_id}")
    patient(studio)
    assert all(isinstance(studio.events[job_id][-1], Finished) for job_id in range(1, 7))


def test_a_model_larger_than_the_budget_loads_alone(shop):
    studio = Studio(shop["tiny"], shop["large"], model_memory=0.5 * estimated(shop["tiny"].path))
    tiny, large = draw(studio, asked(), asked("large"))
    assert difference(large, draw(Studio(shop["large"]), asked("large"))[0]) <= 1
    assert studio.loop.counters().models == ("large",)
    assert difference(draw(studio, asked())[0], tiny) <= 1


@pytest.mark.parametrize("steering", ["a control", "a reference", "both"])
def test_a_job_whose_model_and_steering_together_are_larger_than_the_budget_is_drawn(kits, steering):
    kit = kits[Family.SD15]
    fields = (steered(kit) if steering != "a reference" else {}) | (referred() if steering != "a control" else {})
    roomy, narrow = (Studio(*kit.infos[:1], **kit.tools, model_memory=room) for room in (None, 1e-6))
    mine = asked(**fields)
    assert difference(draw(narrow, mine)[0], draw(roomy, mine)[0]) <= 1


def test_jobs_that_take_each_others_room_for_models_and_steering_are_all_drawn(kits, shop):
    """Room for a model and a ControlNet; each job wants another pair."""
    kit = kits[Family.SD15]
    first = tiny_models.info(kit.models["tiny"], Family.SD15, "tiny")
    room = 1.1 * (estimated(first.path, kit.controlnets["edges"]))
    studio = Studio(first, shop["second"], shop["third"], **kit.tools, model_memory=room)
    control = Control("edges", input_image(grain(32, 32, 5)))
    pairs = [("second", "edges"), ("third", "depths"), ("tiny", "edges"), ("second", "depths")]
    everybody = [asked(name, controls=(dataclasses.replace(control, model=net),)) for name, net in pairs]
    everybody += [asked("third", **referred()), asked("tiny", **referred("plus"))]
    draw(studio, *everybody)
    assert studio.loop._toolbox._shelf.nbytes <= room * GIB


def test_memory_comes_back(shop, kits):
    kit = kits[Family.SD15]
    studio = Studio(shop["tiny"], shop["second"], **kit.tools, model_memory=1e-6)
    draw(studio, asked(**steered(kit), **referred(), loras=(Lora("a", 0.5),)))
    shelf = studio.loop._toolbox._shelf
    modules = [thing.unet if hasattr(thing, "unet") else thing for thing in shelf.loaded.values()]
    alive = [weakref.ref(module) for module in modules]
    assert len(alive) == 4
    del modules
    draw(studio, asked("second"))
    gc.collect()
    assert [one() for one in alive] == [None] * 4
    assert shelf.nbytes == shelf.loaded["model second"].nbytes


def test_an_adapter_counts_with_the_encoder_of_its_pictures(kits):
    kit = kits[Family.SD15]
    studio = Studio(*kit.infos[:1], **kit.tools)
    run = Run(1, asked(**referred()), 1)
    [adapter] = [volume for volume in studio.loop._toolbox._volumes(run) if volume.name.startswith("adapter")]
    shelf = Shelf(10**9, loaders=_Later())
    shelf.ready(1, [dataclasses.replace(adapter, of=None)])
    files = [kit.adapters["base"], *kit.image_encoder.glob("*.safetensors")]
    assert shelf.nbytes == sum(file.stat().st_size for file in files)


# What goes wrong.


@pytest.fixture
def broken(shop: dict[str, ModelInfo], tmp_path: Path) -> ModelInfo:
    folder = shutil.copytree(shop["tiny"].path, tmp_path / "broken")
    weights_ = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights_.write_bytes(weights_.read_bytes()[:-1000])
    return tiny_models.info(folder, Family.SD15, "broken")


def test_a_broken_model_fails_its_own_jobs_only_in_one_sentence_and_is_tried_once_for_all_of_them(shop, broken, loads):
    studio = Studio(shop["tiny"], broken)
    everybody = [asked("broken", seeds=(1, 2)), asked(), asked("broken"), asked(seed=2), asked("broken", seed=3)]
    for job_id, one in enumerate(everybody, start=1):
        studio.loop.submit(job_id, one)
    patient(studio)
    for job_id, one in enumerate(everybody, start=1):
        last = studio.events[job_id][-1]
        if one.model == "tiny":
            assert isinstance(last, Finished)
            continue
        assert studio.events[job_id] == [last]
        assert "broken" in last.error.message
        assert "could not be loaded" in last.error.message
        assert broken.path not in last.error.message
        assert "\n" not in last.error.message
    assert loads.count("broken") == 1
    assert studio.loop._toolbox.loading == ()


def test_a_model_that_was_mended_is_loaded_for_the_next_job(shop, broken):
    studio = Studio(shop["tiny"], broken)
    studio.loop.submit(1, asked("broken"))
    patient(studio)
    assert isinstance(studio.events[1][-1], Failed)
    shutil.copytree(shop["tiny"].path, broken.path, dirs_exist_ok=True)
    assert draw(studio, asked("broken"))


@pytest.mark.parametrize("what", ["model", "control", "adapter", "lora"])
def test_a_name_that_the_engine_was_not_told_of_fails_its_job_only(kits, what):
    kit = kits[Family.SD15]
    studio = Studio(*kit.infos[:1], **kit.tools)
    wrong = {
        "model": asked("nothing"),
        "control": asked(controls=(Control("nothing", input_image(grain(32, 32, 5))),)),
        "adapter": asked(**referred("nothing")),
        "lora": asked(loras=(Lora("nothing", 1.0),)),
    }[what]
    studio.loop.submit(1, wrong)
    studio.loop.submit(2, asked())
    patient(studio)
    assert "nothing" in studio.events[1][-1].error.message
    assert "\n" not in studio.events[1][-1].error.message
    assert isinstance(studio.events[2][-1], Finished)
    assert not studio.loop._toolbox._shelf._places["model tiny"].readers


def test_a_control_that_does_not_fit_or_cannot_be_read_fails_its_job_only(kits, tmp_path):
    kit = kits[Family.SD15]
    other = ControlNetInfo("other", Family.SDXL, str(kits[Family.SDXL].controlnets["edges"]))
    empty = ControlNetInfo("empty", Family.SD15, str(tmp_path))
    gone = ControlNetInfo("gone", Family.SD15, str(tmp_path / "gone"))
    studio = Studio(*kit.infos[:1], controlnets=(other, empty, gone))
    image = input_image(grain(32, 32, 5))
    for job_id, name in enumerate(("other", "empty", "gone"), start=1):
        studio.loop.submit(job_id, asked(controls=(Control(name, image),)))
    studio.loop.submit(4, asked())
    patient(studio)
    for job_id, why in enumerate(("does not fit", "could not be loaded", "could not be loaded"), start=1):
        assert why in studio.events[job_id][-1].error.message
    assert isinstance(studio.events[4][-1], Finished)


def test_a_broken_model_fails_the_job_that_wants_it_with_an_adapter_too_and_leaves_no_trace(kits, shop, broken):
    kit = kits[Family.SD15]
    studio = Studio(shop["tiny"], broken, **kit.tools)
    studio.loop.submit(1, asked("broken", **referred()))
    patient(studio)
    assert "could not be loaded" in studio.events[1][-1].error.message
    assert draw(studio, asked(**referred()))
    assert all("broken" not in name for name in studio.loop._toolbox._shelf._places)


# The shelf alone.


class _Thing:
    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


def volume(tmp_path: Path, name: str, size: int, load: Callable[[], Any] | None = None) -> Volume:
    path = tmp_path / name
    path.write_bytes(bytes(size))
    return Volume(name, (path,), load or (lambda: _Thing(size)))


class _Later:
    """Loaders that load when they are told to."""

    def __init__(self) -> None:
        self._asked: list[tuple[Any, Any]] = []

    def submit(self, load: Any) -> Any:
        future: Any = Future()
        self._asked.append((future, load))
        return future

    def finish(self) -> None:
        for future, load in self._asked:
            try:
                future.set_result(load())
            except Exception as error:
                future.set_exception(error)
        self._asked.clear()


def test_room_is_kept_for_a_job_as_a_whole_or_not_at_all(tmp_path):
    loaders = _Later()
    shelf = Shelf(100, loaders=loaders)
    a, b, c, d = (volume(tmp_path, name, size) for name, size in (("a", 40), ("b", 40), ("c", 40), ("d", 15)))
    assert not shelf.ready(1, [a, b])
    assert not shelf.ready(2, [d, c])  # d alone would have room
    assert shelf.loading == ("a", "b")
    loaders.finish()
    assert not shelf.ready(2, [d, c])
    assert shelf.ready(1, [a, b])
    shelf.give_back(1)
    assert not shelf.ready(2, [d, c])
    assert set(shelf.loaded) == {"b"}  # a had to go, b need not
    loaders.finish()
    assert shelf.ready(2, [d, c])


def failing(attempts: list[int]) -> Callable[[], Any]:
    def fail() -> Any:
        attempts.append(1)
        raise ConfigurationError("no")

    return fail


def test_an_error_reaches_all_who_waited_and_nobody_who_comes_later(tmp_path):
    attempts: list[int] = []
    loaders = _Later()
    shelf = Shelf(100, loaders=loaders)
    bad = volume(tmp_path, "bad", 10, failing(attempts))
    assert not shelf.ready(1, [bad])
    assert not shelf.ready(2, [bad])
    loaders.finish()
    for job_id in (1, 2):
        with pytest.raises(GenerationFailed, match="the server's log says why"):
            shelf.ready(job_id, [bad])
        shelf.give_back(job_id)
    assert not shelf.ready(3, [bad])
    loaders.finish()
    assert len(attempts) == 2


def test_an_error_that_nobody_waits_for_any_more_is_forgotten(tmp_path):
    attempts: list[int] = []
    loaders = _Later()
    shelf = Shelf(100, loaders=loaders)
    bad = volume(tmp_path, "bad", 10, failing(attempts))
    assert not shelf.ready(1, [bad])
    shelf.give_back(1)
    loaders.finish()
    assert not shelf.ready(2, [bad])
    assert shelf.loading == ("bad",)


def test_what_is_made_for_another_thing_is_given_it_whether_it_was_there_or_not(tmp_path):
    loaders = _Later()
    shelf = Shelf(100, loaders=loaders)
    base = volume(tmp_path, "base", 10)
    given: list[Any] = []

    def load(thing: Any) -> Any:
        given.append(thing)
        return _Thing(5)

    first, second = (dataclasses.replace(volume(tmp_path, n, 5), of="base", load=load) for n in ("first", "second"))
    assert not shelf.ready(1, [base, first])
    loaders.finish()
    assert shelf.ready(1, [base, first])
    assert not shelf.ready(2, [base, second])
    loaders.finish()
    assert shelf.ready(2, [base, second])
    assert given == [shelf.loaded["base"]] * 2


def test_a_file_that_vanished_is_no_error_of_the_shelf(tmp_path):
    loaders = _Later()
    shelf = Shelf(100, loaders=loaders)
    gone = Volume("gone", (tmp_path / "gone",), lambda: _Thing(1))
    assert not shelf.ready(1, [gone])
    loaders.finish()
    assert shelf.ready(1, [gone])


# Nothing changes for those who draw meanwhile.


def test_a_picture_drawn_in_the_middle_of_a_load_is_the_same(shop, kits, monkeypatch):
    """Held where a text encoder's module is half made: there the library's own loading has set another dtype for all."""
    kit = kits[Family.SD15]
    studio = Studio(shop["tiny"], shop["large"], **kit.tools)
    everybody = [asked(sampler=sampler, seed=2) for sampler in ("euler_a", "dpmpp_2m")]
    everybody += [asked(loras=(Lora("a", 0.6),))]
    alone = draw(studio, *everybody)
    reached, opened = threading.Event(), threading.Event()
    finish = CLIPTextModelWithProjection.post_init

    def held(self: Any) -> Any:
        reached.set()
        assert opened.wait(60)
        return finish(self)

    monkeypatch.setattr(CLIPTextModelWithProjection, "post_init", held)
    changed: list[Any] = []
    monkeypatch.setattr(torch, "set_default_dtype", changed.append)
    studio.events.clear()
    studio.loop.submit(9, asked("large"))
    try:
        assert studio.loop.step()
        assert reached.wait(60)
        for job_id, one in enumerate(everybody, start=1):
            studio.loop.submit(job_id, one)
        while not all(ended(studio, job_id) for job_id in range(1, 4)):
            assert studio.loop.step()
        assert not ended(studio, 9)
        for job_id, expected in enumerate(alone, start=1):
            assert np.array_equal(studio.picture(job_id), expected)
    finally:
        opened.set()
    patient(studio)
    assert isinstance(studio.events[9][-1], Finished)
    assert changed == []


@pytest.mark.parametrize("cls", [CLIPTextModelWithProjection, CLIPVisionModelWithProjection])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_an_encoder_whose_config_names_a_dtype_is_read_without_setting_it_for_everybody(
    folders, tmp_path, monkeypatch, cls, dtype
):
    if cls is CLIPTextModelWithProjection:
        folder = shutil.copytree(folders[Family.SDXL] / "text_encoder_2", tmp_path / "encoder")
    else:
        folder = tiny_controls.save_image_encoder(tmp_path / "encoder")
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "dtype": dtype}))
    changed: list[Any] = []
    with monkeypatch.context() as patched:
        patched.setattr(torch, "set_default_dtype", changed.append)
        # The library itself does it, so the trap is set.
        cls(cls.config_class.from_pretrained(folder))
        assert changed
        changed.clear()
        module = weights.transformers_module(cls, folder, torch.device("cpu"), torch.float32)
    assert changed == []
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


def test_progress_goes_on_while_something_loads(shop, door):
    held = door("second")
    studio = Studio(shop["tiny"], shop["second"])
    studio.loop.submit(1, asked("second"))
    studio.loop.submit(2, asked(num_inference_steps=4))
    turns = 0
    while not ended(studio, 2):
        studio.loop.step()
        turns += 1
    assert turns <= 5  # a step each turn, none of them waits for the file
    assert [event.done for event in studio.events[2] if isinstance(event, Progress)][-1] == 4
    held.open()
    patient(studio)


def test_a_job_that_waits_long_for_room_gets_it_although_newcomers_want_what_is_there(tmp_path):
    loaders, now = _Later(), [0.0]
    shelf = Shelf(100, loaders=loaders, monotonic=lambda: now[0])
    busy, other = volume(tmp_path, "busy", 80), volume(tmp_path, "other", 80)
    shelf.ready(1, [busy])
    loaders.finish()
    assert shelf.ready(1, [busy])
    assert not shelf.ready(2, [other])
    assert shelf.ready(3, [busy])
    now[0] = HUNGER
    assert not shelf.ready(4, [busy]), "a newcomer is held back"
    assert shelf.ready(3, [busy]), "who has it keeps it"
    shelf.give_back(1)
    assert not shelf.ready(2, [other])
    shelf.give_back(3)
    assert not shelf.ready(2, [other])
    assert shelf.loading == ("other",)
    loaders.finish()
    assert shelf.ready(2, [other])


def test_nobody_is_held_back_for_a_job_that_was_withdrawn(tmp_path):
    loaders, now = _Later(), [0.0]
    shelf = Shelf(100, loaders=loaders, monotonic=lambda: now[0])
    busy, other = volume(tmp_path, "busy", 80), volume(tmp_path, "other", 80)
    shelf.ready(1, [busy])
    loaders.finish()
    shelf.ready(1, [busy])
    shelf.ready(2, [other])
    now[0] = HUNGER
    shelf.give_back(2)
    assert shelf.ready(3, [busy])


def test_what_was_made_for_a_thing_goes_with_it_and_is_closed(tmp_path):
    loaders = _Later()
    shelf = Shelf(100, loaders=loaders)
    base, closed = volume(tmp_path, "base", 60), []

    class Closing(_Thing):
        def close(self) -> None:
            closed.append(self)

    made = dataclasses.replace(volume(tmp_path, "made", 5), of="base", load=lambda thing: Closing(5))
    shelf.ready(1, [base, made])
    loaders.finish()
    assert shelf.ready(1, [base, made])
    shelf.give_back(1)
    shelf.ready(2, [volume(tmp_path, "next", 60)])
    assert shelf.loaded == {}
    assert len(closed) == 1


def test_loras_that_nobody_mixes_any_more_are_let_go_before_the_model_that_is_in_use(kits):
    kit = kits[Family.SD15]
    studio = Studio(*kit.infos[:1], **kit.tools)
    names = [info.name for info in kit.tools["loras"]]
    assert len(names) > 1
    draw(studio, asked(loras=(Lora(names[0], 1.0),)))
    shelf = studio.loop._toolbox._shelf
    shelf.budget = shelf.nbytes
    draw(studio, asked(loras=(Lora(names[1], 1.0),)))
    assert [name for name in shelf.loaded if name.startswith("LoRA")] == [f"LoRA {names[1]} of tiny"]
    assert studio.loop._toolbox.models[0].loras.nbytes_of(names[0]) == 0
