"""IP-Adapters, each row with its own picture and scale, against diffusers' `load_ip_adapter` one row at a time."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessorPil

from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import Family
from diffuserve.engine.diffusion import ip_adapter
from diffuserve.engine.diffusion.device import Device
from diffuserve.engine.diffusion.ip_adapter import IPAdapter
from support import tiny_controls
from support.pictures import encoded, quarters

pytestmark = pytest.mark.integration

FAMILIES = list(Family)
KINDS = tiny_controls.KINDS
DEVICE = Device(torch.device("cpu"), torch.float32)
CLOSE = {"rtol": 1e-4, "atol": 2e-5}
GATES = (1.0, 0.0, 0.35, 0.8)
SIZES = ((32, 32), (80, 40), (33, 57), (20, 24))
PIPELINES = {Family.SD15: diffusers.StableDiffusionPipeline, Family.SDXL: diffusers.StableDiffusionXLPipeline}


@dataclass
class Rig:
    """A stock pipeline with the adapter loaded, our adapter beside a bare UNet, and rows to draw."""

    pipeline: Any
    unet: Any
    adapter: IPAdapter
    pictures: list[Image.Image]
    rows: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    added: dict[str, torch.Tensor]

    def draw(self, gates: tuple[float, ...] = GATES, unet: Any = None) -> torch.Tensor:
        unet = unet or self.unet
        embeds = torch.cat([self.adapter.embed(encoded(image))[0] for image in self.pictures])
        with self.adapter.attached(unet, torch.tensor(gates), embeds) as further:
            return unet(*self.rows, added_cond_kwargs={**self.added, **further}).sample

    def bare(self) -> torch.Tensor:
        return self.unet(*self.rows, added_cond_kwargs=self.added).sample

    def their_row(self, i: int, scale: float) -> torch.Tensor:
        embeds = self.their_embeds(i)[0].chunk(2)[1]
        self.pipeline.set_ip_adapter_scale(scale)
        added = {name: rows[i : i + 1] for name, rows in self.added.items()}
        return self.pipeline.unet(
            *(rows[i : i + 1] for rows in self.rows), added_cond_kwargs={**added, "image_embeds": [embeds]}
        ).sample

    def their_embeds(self, i: int) -> list[torch.Tensor]:
        return self.pipeline.prepare_ip_adapter_image_embeds(self.pictures[i], None, "cpu", 1, True)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def shelf(folders: dict[Family, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an adapter of each kind for each family, and their image encoder."""
    root = tmp_path_factory.mktemp("adapters")
    tiny_controls.save_image_encoder(root / "image_encoder")
    for family, folder in folders.items():
        for kind in ("base", "plus", "full", "faceid", "faceid_plus"):
            tiny_controls.save_adapter(root / f"{family}-{kind}.safetensors", folder, kind)
    return root


def info(shelf: Path, family: Family, kind: str = "base", **changes: Any) -> Any:
    path = shelf / f"{family}-{kind}.safetensors"
    return tiny_controls.adapter_info(path, shelf / "image_encoder", family, **changes)


def bare_unet(folder: Path) -> Any:
    return diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet").eval()


@pytest.fixture(scope="module")
def rigs(folders: dict[Family, Path], shelf: Path) -> Any:
    made: dict[tuple[Family, str], Rig] = {}

    def rig(family: Family, kind: str = "base") -> Rig:
        if (family, kind) not in made:
            made[family, kind] = build(folders[family], shelf, family, kind)
        return made[family, kind]

    return rig


def build(folder: Path, shelf: Path, family: Family, kind: str) -> Rig:
    pipeline = PIPELINES[family].from_pretrained(folder, dtype=torch.float32)
    weight_name = f"{family}-{kind}.safetensors"
    pipeline.load_ip_adapter(str(shelf), subfolder="", weight_name=weight_name, image_encoder_folder="image_encoder")
    unet = bare_unet(folder)
    noise = torch.Generator().manual_seed(6)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(len(GATES), *shape, generator=noise)

    added = {}
    if family is Family.SDXL:
        time_ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]]).repeat(len(GATES), 1)
        added = {"text_embeds": random(32), "time_ids": time_ids}
    return Rig(
        pipeline,
        unet,
        ip_adapter.load(info(shelf, family, kind), unet, DEVICE),
        [quarters(*size).rotate(90 * i) for i, size in enumerate(SIZES)],
        (random(4, 16, 16), torch.tensor([981.0, 701.0, 333.0, 1.0]), random(77, unet.config.cross_attention_dim)),
        added,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_each_row_of_a_mixed_batch_equals_diffusers_adapter_with_its_picture_and_scale_alone(rigs, family, kind):
    rig = rigs(family, kind)
    mixed, bare = rig.draw(), rig.bare()
    for i, gate in enumerate(GATES):
        torch.testing.assert_close(mixed[i : i + 1], rig.their_row(i, gate), **CLOSE)
        assert (gate == 0) == torch.equal(mixed[i], bare[i])
        if gate:
            assert (mixed[i] - bare[i]).abs().max() > 0.01, "the adapter did nothing, so equality would prove nothing"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_is_embedded_as_the_pipeline_does_it_under_guidance(rigs, family, kind):
    rig = rigs(family, kind)
    for i, image in enumerate(rig.pictures):
        positive, negative = rig.adapter.embed(encoded(image))
        (theirs,) = rig.their_embeds(i)
        torch.testing.assert_close(torch.cat([negative, positive]), theirs, rtol=1e-5, atol=1e-6)
    first, second = (rig.adapter.embed(encoded(image))[0] for image in rig.pictures[:2])
    assert (first - second).abs().max() > 0.01, "all pictures look the same to it, so equality would prove nothing"


@pytest.mark.parametrize("kind", ["base", "plus"])
def test_no_picture_is_zeros_for_the_base_kind_and_the_encoding_of_zeros_for_plus(rigs, kind):
    adapter = rigs(Family.SD15, kind).adapter
    assert bool(adapter.nothing.any()) == (kind == "plus")
    assert adapter.nothing.shape == adapter.embed(encoded(quarters()))[0].shape


@pytest.mark.parametrize("size", [(32, 32), (100, 40), (31, 77), (8, 8)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_encoder_sees_what_clips_own_processor_makes_of_the_picture(rigs, size, mode):
    image = quarters(*size).convert(mode)
    side = tiny_controls.ENCODER_SIDE
    theirs = CLIPImageProcessorPil(size=side, crop_size=side)(image, return_tensors="pt").pixel_values
    assert torch.equal(rigs(Family.SD15).adapter.encoder.pixels(encoded(image)), theirs)


def remember(unet: Any) -> tuple[Any, ...]:
    """All of the UNet that `attached` might leave changed."""
    return (
        {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in unet.state_dict().items()},
        [(name, id(processor)) for name, processor in unet.attn_processors.items()],
        [name for name, _ in unet.named_modules()],
        [(name, sorted(module._modules), len(module._forward_hooks)) for name, module in unet.named_modules()],
        dict(unet.config),
        unet.config.encoder_hid_dim_type,
        unet.encoder_hid_proj,
    )


def same(before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    weights = all(
        pointer == after[0][name][0] and torch.equal(tensor, after[0][name][1])
        for name, (pointer, tensor) in before[0].items()
    )
    return weights and before[0].keys() == after[0].keys() and before[1:] == after[1:]


@pytest.mark.parametrize("family", FAMILIES)
def test_afterwards_the_unet_is_what_it_was(folders, rigs, family):
    rig, unet = rigs(family, "plus"), bare_unet(folders[family])
    before, drawn = remember(unet), unet(*rig.rows, added_cond_kwargs=rig.added).sample
    rig.draw(unet=unet)
    assert same(before, remember(unet))
    assert torch.equal(unet(*rig.rows, added_cond_kwargs=rig.added).sample, drawn)


def test_inside_the_unet_is_not_what_it_was(rigs):
    rig = rigs(Family.SD15)
    before = remember(rig.unet)
    with rig.adapter.attached(rig.unet, torch.ones(1), rig.adapter.nothing):
        assert not same(before, remember(rig.unet))


@pytest.mark.parametrize("family", FAMILIES)
def test_after_an_exception_the_unet_is_what_it_was_and_the_next_forward_goes_well(rigs, family):
    rig = rigs(family)
    before, good = remember(rig.unet), rig.draw()
    with (
        pytest.raises(ZeroDivisionError),
        rig.adapter.attached(rig.unet, torch.ones(1), rig.adapter.nothing),
    ):
        raise ZeroDivisionError
    narrow = torch.zeros(len(GATES), 1, tiny_controls.PROJECTED - 1)
    with (
        pytest.raises(RuntimeError, match="shapes cannot be multiplied"),
        rig.adapter.attached(rig.unet, torch.tensor(GATES), narrow) as further,
    ):
        rig.unet(*rig.rows, added_cond_kwargs={**rig.added, **further})
    assert same(before, remember(rig.unet))
    assert torch.equal(rig.draw(), good)


def test_where_attaching_itself_fails_the_unet_is_what_it_was(rigs, monkeypatch):
    rig = rigs(Family.SD15)
    before = remember(rig.unet)
    rig.draw()
    last = rig.adapter._cross_attentions(rig.unet)[-1]

    def refuse(processor: Any) -> None:
        if processor is rig.adapter._layers[-1]:
            raise MemoryError
        last.__class__.set_processor(last, processor)

    monkeypatch.setattr(last, "set_processor", refuse)
    with (
        pytest.raises(MemoryError),
        rig.adapter.attached(rig.unet, torch.ones(1), rig.adapter.nothing),
    ):
        pass
    monkeypatch.undo()
    assert same(before, remember(rig.unet))


def test_gates_for_other_rows_than_there_are_pictures_are_a_mistake_that_is_told(rigs):
    rig = rigs(Family.SD15)
    before = remember(rig.unet)
    with (
        pytest.raises(ValueError, match="3 gates for 1 rows"),
        rig.adapter.attached(rig.unet, torch.ones(3), rig.adapter.nothing),
    ):
        pass
    assert same(before, remember(rig.unet))


def test_one_adapter_serves_every_unet_of_its_shape(folders, rigs):
    rig, other = rigs(Family.SD15), bare_unet(folders[Family.SD15])
    with torch.no_grad():
        other.conv_in.weight.mul_(1.5)
    on_other = rig.draw(unet=other)
    assert not torch.equal(on_other, rig.draw())
    rig.pipeline.unet.conv_in.weight.mul_(1.5)
    try:
        torch.testing.assert_close(on_other[2:3], rig.their_row(2, GATES[2]), **CLOSE)
    finally:
        rig.pipeline.unet.conv_in.weight.div_(1.5)


def test_an_adapter_on_a_unet_of_another_shape_is_one_sentence(rigs):
    small, large = rigs(Family.SD15), rigs(Family.SDXL)
    with pytest.raises(ConfigurationError, match="is for another model"):
        small.draw(unet=large.unet)


def test_a_row_that_is_not_a_number_spoils_no_other(rigs):
    rig = rigs(Family.SD15)
    embeds = torch.cat([rig.adapter.embed(encoded(image))[0] for image in rig.pictures])
    good = rig.draw()
    embeds[0] = torch.nan
    with rig.adapter.attached(rig.unet, torch.tensor(GATES), embeds) as further:
        drawn = rig.unet(*rig.rows, added_cond_kwargs=further).sample
    assert drawn[0].isnan().any()
    assert torch.equal(drawn[1:], good[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_loading_changes_nothing_for_those_who_draw_meanwhile(rigs, shelf, monkeypatch, kind):
    changed = []
    unet = rigs(Family.SDXL).unet
    before, state = remember(unet), torch.get_rng_state()
    monkeypatch.setattr(torch, "set_default_dtype", changed.append)
    ip_adapter.load(info(shelf, Family.SDXL, kind), unet, DEVICE)
    assert changed == []
    assert torch.equal(torch.get_rng_state(), state)
    assert same(before, remember(unet))


def test_weights_come_in_the_dtype_of_the_device_whatever_the_files_have(rigs, shelf):
    half = Device(torch.device("cpu"), torch.bfloat16)
    adapter = ip_adapter.load(info(shelf, Family.SD15, "plus"), rigs(Family.SD15).unet, half)
    positive, negative = adapter.embed(encoded(quarters()))
    assert positive.dtype is negative.dtype is torch.bfloat16
    modules = (adapter.encoder.module, adapter._projection, *adapter._layers)
    assert {tensor.dtype for module in modules for tensor in module.parameters()} == {torch.bfloat16}
    assert adapter.nbytes * 2 == rigs(Family.SD15, "plus").adapter.nbytes + _positions(adapter)


def _positions(adapter: IPAdapter) -> int:
    """Bytes of whole numbers, which have the same size in every dtype."""
    return sum(buffer.nbytes for buffer in adapter.encoder.module.buffers())


def test_its_bytes_are_those_of_its_files(rigs, shelf):
    files = {**load_file(shelf / "sdxl-plus.safetensors"), **_encoder_tensors(shelf)}
    adapter = rigs(Family.SDXL, "plus").adapter
    assert adapter.nbytes == sum(4 * tensor.numel() for tensor in files.values()) + _positions(adapter)


def _encoder_tensors(shelf: Path) -> dict[str, torch.Tensor]:
    return load_file(shelf / "image_encoder" / "model.safetensors")


def test_an_encoder_that_is_at_hand_is_shared(rigs, shelf, tmp_path):
    first = rigs(Family.SD15).adapter
    elsewhere = dataclasses.replace(info(shelf, Family.SD15, "plus"), image_encoder=str(tmp_path / "nowhere"))
    second = ip_adapter.load(elsewhere, rigs(Family.SD15).unet, DEVICE, first.encoder)
    assert second.encoder is first.encoder


@pytest.mark.parametrize("kind", KINDS)
def test_attention_has_a_fused_kernel_in_each_of_its_layers(rigs, kind):
    rig = rigs(Family.SDXL, kind)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):
        rig.draw()
    assert rig.adapter.encoder.module.config._attn_implementation == "sdpa"
    assert {type(layer).__name__ for layer in rig.adapter._layers} == {"IPAdapterAttnProcessor2_0"}


def refused(info: Any, unet: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        ip_adapter.load(info, unet, DEVICE)
    message = caught.value.message
    assert message.startswith(f"IP-Adapter likeness at {info.path} could not be loaded: ")
    assert "\n" not in message
    return message.partition("could not be loaded: ")[2]


@pytest.mark.parametrize("kind", ["faceid", "faceid_plus"])
def test_faceid_adapters_are_refused_by_name(rigs, shelf, kind):
    assert "FaceID adapter, which wants InsightFace" in refused(info(shelf, Family.SD15, kind), rigs(Family.SD15).unet)


@pytest.mark.parametrize(
    ("made_for", "used_on", "widths"), [(Family.SD15, Family.SDXL, (32, 64)), (Family.SDXL, Family.SD15, (64, 32))]
)
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_of_the_other_family_is_refused(rigs, shelf, made_for, used_on, widths, kind):
    assert refused(info(shelf, made_for, kind), rigs(used_on).unet) == (
        f"it is for models whose text context has {widths[0]} channels, and this one's has {widths[1]}"
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ip_adapter.3.to_v_ip.weight": None}, "its layer 3 is missing and not (64, 32)"),
        ({"ip_adapter.3.to_k_ip.weight": torch.zeros(32, 32)}, "its layer 3 is (32, 32) and not (64, 32)"),
        ({"ip_adapter.99.to_k_ip.weight": torch.zeros(64, 32)}, "that has no place for ip_adapter.99.to_k_ip.weight"),
        ({"ip_adapter.0.to_q_lora.down.weight": torch.zeros(4, 64)}, "it brings a LoRA, as FaceID adapters do"),
        ({"image_proj.proj.bias": None}, "it is incomplete: image_embeds.bias is missing"),
        ({"image_proj.more": torch.zeros(1)}, "it holds more, which no IP-Adapter of its kind has"),
        ({"unet.conv_in.weight": torch.zeros(1)}, "it holds unet.conv_in.weight, which no IP-Adapter has"),
        ({"image_proj.proj.weight": None, "image_proj.norm.weight": None}, "it is no IP-Adapter of a known kind"),
    ],
)
def test_a_file_with_a_tensor_too_many_or_too_few_is_refused(folders, rigs, shelf, tmp_path, changes, why):
    path = tiny_controls.save_adapter(tmp_path / "odd.safetensors", folders[Family.SD15], **changes)
    odd = tiny_controls.adapter_info(path, shelf / "image_encoder", Family.SD15)
    assert why in refused(odd, rigs(Family.SD15).unet)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_encoder_of_another_width_is_refused(folders, rigs, shelf, tmp_path, kind):
    other = tiny_controls.save_image_encoder(tmp_path / "encoder", hidden_size=40, projection_dim=20)
    why = refused(dataclasses.replace(info(shelf, Family.SD15, kind), image_encoder=str(other)), rigs(Family.SD15).unet)
    assert "give it the one that it was trained with" in why
    assert str(other) in why


def test_files_that_are_not_there_or_damaged_are_refused(rigs, shelf, tmp_path):
    unet, good = rigs(Family.SD15).unet, info(shelf, Family.SD15)
    assert "nothing.safetensors" in refused(dataclasses.replace(good, path=str(tmp_path / "nothing.safetensors")), unet)
    (tmp_path / "broken.safetensors").write_bytes(b"{}")
    assert "it is damaged" in refused(dataclasses.replace(good, path=str(tmp_path / "broken.safetensors")), unet)
    assert str(tmp_path / "none") in refused(dataclasses.replace(good, image_encoder=str(tmp_path / "none")), unet)
    tensors = _encoder_tensors(shelf)
    tensors.pop("visual_projection.weight")
    lacking = tiny_controls.save_image_encoder(tmp_path / "lacking")
    save_file(tensors, lacking / "model.safetensors")
    assert "visual_projection.weight is missing" in refused(dataclasses.replace(good, image_encoder=str(lacking)), unet)


def test_a_model_with_an_image_projection_of_its_own_is_refused(rigs, shelf):
    why = refused(info(shelf, Family.SD15), rigs(Family.SD15).pipeline.unet)
    assert "projection of its own" in why
