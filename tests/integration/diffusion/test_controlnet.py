"""ControlNets, each row with its own map and scale, against diffusers' own ControlNets one row at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, MultiControlNetModel, UNet2DConditionModel
from diffusers.image_processor import VaeImageProcessor
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from diffuserve.core.errors import ConfigurationError, GenerationFailed
from diffuserve.core.model import Family
from diffuserve.core.request import Control
from diffuserve.engine.diffusion import controlnet, weights
from diffuserve.engine.diffusion.controlnet import ControlNet, Residuals
from diffuserve.engine.diffusion.device import Device
from support import tiny_controls, tiny_models
from support.pictures import encoded, quarters

pytestmark = pytest.mark.integration

FAMILIES = list(Family)
DEVICE = Device(torch.device("cpu"), torch.float32)
CLOSE = {"rtol": 1e-4, "atol": 2e-5}
SCALES = (1.0, 0.0, 0.4, 1.7)


@dataclass
class Scene:
    """One UNet, two ControlNets as diffusers and as we load them, and rows to draw."""

    unet: Any
    theirs: tuple[Any, Any]
    ours: tuple[ControlNet, ControlNet]
    latents: torch.Tensor
    timesteps: torch.Tensor
    context: torch.Tensor
    maps: tuple[torch.Tensor, torch.Tensor]
    added: dict[str, torch.Tensor] | None

    def row(self, i: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.latents[i : i + 1], self.timesteps[i : i + 1], self.context[i : i + 1]

    def row_added(self, i: int) -> dict[str, torch.Tensor] | None:
        return None if self.added is None else {name: rows[i : i + 1] for name, rows in self.added.items()}

    def residuals(self, which: int, scales: tuple[float, ...]) -> Residuals:
        net = self.ours[which]
        rows = (self.latents, self.timesteps, self.context, self.maps[which])
        return net.residuals(*rows, torch.tensor(scales), self.added)

    def draw(self, residuals: Residuals | None) -> torch.Tensor:
        extra = {} if residuals is None else residuals.arguments
        return self.unet(self.latents, self.timesteps, self.context, added_cond_kwargs=self.added, **extra).sample

    def their_row(self, i: int, net: Any, maps: Any, scale: Any) -> torch.Tensor:
        """Row `i` alone, as the stock pipelines call the ControlNet and the UNet."""
        down, mid = net(
            *self.row(i),
            controlnet_cond=maps,
            conditioning_scale=scale,
            added_cond_kwargs=self.row_added(i),
            return_dict=False,
        )
        return self.unet(
            *self.row(i),
            added_cond_kwargs=self.row_added(i),
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
        ).sample


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def nets(folders: dict[Family, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[Family, tuple[Path, Path]]:
    root = tmp_path_factory.mktemp("controlnets")
    return {
        family: tuple(
            tiny_controls.save_controlnet(root / f"{family}-{seed}", folder, seed=seed)  # type: ignore[misc]
            for seed in (21, 22)
        )
        for family, folder in folders.items()
    }


@pytest.fixture(scope="module")
def scenes(folders: dict[Family, Path], nets: dict[Family, tuple[Path, Path]]) -> dict[Family, Scene]:
    return {family: scene(folders[family], nets[family], family) for family in FAMILIES}


def scene(folder: Path, nets: tuple[Path, Path], family: Family) -> Scene:
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet").eval()
    noise = torch.Generator().manual_seed(5)
    rows = len(SCALES)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(rows, *shape, generator=noise)

    added = None
    if family is Family.SDXL:
        added = {"text_embeds": random(32), "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]]).repeat(rows, 1)}
    return Scene(
        unet,
        tuple(ControlNetModel.from_pretrained(net).eval() for net in nets),  # type: ignore[arg-type]
        tuple(controlnet.load(tiny_controls.controlnet_info(net, family), DEVICE) for net in nets),  # type: ignore[arg-type]
        random(4, 16, 16),
        torch.tensor([981.0, 701.0, 333.0, 1.0]),
        random(77, unet.config.cross_attention_dim),
        (random(3, 32, 32).sigmoid(), random(3, 32, 32).sigmoid()),
        added,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_each_row_of_a_mixed_batch_equals_diffusers_call_with_its_map_and_scale_alone(scenes, family):
    it = scenes[family]
    mixed = it.draw(it.residuals(0, SCALES))
    bare = it.draw(None)
    for i, scale in enumerate(SCALES):
        alone = it.their_row(i, it.theirs[0], it.maps[0][i : i + 1], scale)
        torch.testing.assert_close(mixed[i : i + 1], alone, **CLOSE)
        assert (scale == 0) == torch.equal(mixed[i], bare[i])
        if scale:
            assert (mixed[i] - bare[i]).abs().max() > 0.01, (
                "the ControlNet did nothing, so equality would prove nothing"
            )


@pytest.mark.parametrize("family", FAMILIES)
def test_two_controlnets_with_scales_for_each_row_equal_diffusers_multi_controlnet(scenes, family):
    it, others = scenes[family], (0.3, 0.9, 0.0, 1.0)
    mixed = it.draw(controlnet.total([it.residuals(0, SCALES), it.residuals(1, others)]))
    both = MultiControlNetModel(it.theirs)
    for i, scales in enumerate(zip(SCALES, others, strict=True)):
        alone = it.their_row(i, both, [maps[i : i + 1] for maps in it.maps], list(scales))
        torch.testing.assert_close(mixed[i : i + 1], alone, **CLOSE)
    only_first = it.draw(it.residuals(0, SCALES))
    assert (mixed[0] - only_first[0]).abs().max() > 0.01


def test_the_total_leaves_its_parts_as_they_are_and_one_part_is_its_own_total(scenes):
    it = scenes[Family.SD15]
    first = it.residuals(0, SCALES)
    before = first.mid.clone()
    alone = controlnet.total([first])
    assert torch.equal(alone.mid, before)
    controlnet.total([first, it.residuals(1, SCALES)])
    assert torch.equal(first.mid, before)


def test_an_inpainting_unets_further_channels_are_not_shown_to_the_controlnet(scenes):
    it = scenes[Family.SD15]
    wide = torch.cat([it.latents, torch.full((len(SCALES), 5, 16, 16), 9.0)], dim=1)
    nine = it.ours[0].residuals(wide, it.timesteps, it.context, it.maps[0], torch.tensor(SCALES), None)
    assert torch.equal(nine.mid, it.residuals(0, SCALES).mid)


def test_a_scale_is_not_rounded_to_half_precision_before_it_multiplies(nets):
    half = Device(torch.device("cpu"), torch.bfloat16)
    net = controlnet.load(tiny_controls.controlnet_info(nets[Family.SD15][0], Family.SD15), half)
    noise = torch.Generator().manual_seed(1)
    rows = [torch.randn(1, *shape, generator=noise) for shape in ((4, 16, 16), (77, 32), (3, 32, 32))]
    latents, context, maps = (tensor.bfloat16() for tensor in rows)
    asked = (latents, torch.tensor([400.0]), context, maps)
    ours = net.residuals(*asked, torch.tensor([0.7]), None)
    theirs = net.module(*asked, conditioning_scale=0.7, return_dict=False)
    assert ours.mid.dtype is torch.bfloat16
    assert torch.equal(ours.mid, theirs[1])
    assert all(torch.equal(a, b) for a, b in zip(ours.down, theirs[0], strict=True))


def test_a_pooling_controlnet_says_the_same_as_diffusers_and_that_negative_rows_go_without(folders, scenes, tmp_path):
    folder = tiny_controls.save_controlnet(tmp_path, folders[Family.SD15], global_pool_conditions=True)
    net = controlnet.load(tiny_controls.controlnet_info(folder, Family.SD15, kind="shuffle"), DEVICE)
    it = scenes[Family.SD15]
    said = net.residuals(it.latents, it.timesteps, it.context, it.maps[0], torch.tensor(SCALES), None)
    mixed = it.draw(said)
    theirs = ControlNetModel.from_pretrained(folder).eval()
    for i, scale in enumerate(SCALES):
        alone = it.their_row(i, theirs, it.maps[0][i : i + 1], scale)
        torch.testing.assert_close(mixed[i : i + 1], alone, **CLOSE)
    assert said.mid.shape[2:] == (1, 1)
    assert net.positive_only
    assert not it.ours[0].positive_only


shares = st.floats(0, 1)


@given(start=shares, end=shares, steps=st.integers(1, 60))
def test_a_control_acts_at_the_steps_of_diffusers_rule(start, end, steps):
    # controlnet_keep of StableDiffusionControlNetPipeline, over all timesteps.
    keep = [1.0 - float(i / steps < start or (i + 1) / steps > end) for i in range(steps)]
    control = Control("edges", start=start, end=end)
    assert [float(controlnet.active(control, i, steps)) for i in range(steps)] == keep


def test_a_control_over_all_steps_acts_at_each_and_one_over_the_first_half_at_that_half():
    always, half = Control("edges"), Control("edges", end=0.5)
    assert all(controlnet.active(always, i, 7) for i in range(7))
    assert [controlnet.active(half, i, 4) for i in range(4)] == [True, True, False, False]


@pytest.mark.parametrize(("width", "height"), [(64, 64), (48, 64), (96, 32)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_map_becomes_what_diffusers_control_image_processor_makes_of_it(scenes, width, height, mode):
    image = quarters(64, 64).convert(mode)
    ours = scenes[Family.SD15].ours[0].prepare(encoded(image), height, width)
    processor = VaeImageProcessor(vae_scale_factor=2, do_convert_rgb=True, do_normalize=False)
    assert torch.equal(ours, processor.preprocess(image, height=height, width=width))
    assert ours.shape == (1, 3, height, width)


def test_a_reduced_map_is_averaged_and_not_picked():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    net = ControlNet(tiny_controls.controlnet_info(Path("nowhere"), Family.SD15), torch.nn.Identity(), DEVICE)
    reduced = net.prepare(encoded(Image.fromarray(stripes)), 16, 16)
    torch.testing.assert_close(reduced[..., 4:-4], torch.full((1, 3, 16, 8), 0.5), rtol=0, atol=0.02)


def test_its_bytes_are_those_of_its_weights(scenes):
    it = scenes[Family.SDXL]
    assert it.ours[0].nbytes == sum(parameter.nbytes for parameter in it.theirs[0].parameters())
    assert weights.nbytes(it.ours[0].module) == it.ours[0].nbytes


def test_loading_changes_nothing_for_those_who_draw_meanwhile(nets, monkeypatch):
    changed = []
    monkeypatch.setattr(torch, "set_default_dtype", changed.append)
    state = torch.get_rng_state()
    controlnet.load(tiny_controls.controlnet_info(nets[Family.SDXL][0], Family.SDXL), DEVICE)
    assert changed == []
    assert torch.equal(torch.get_rng_state(), state)


def test_attention_has_a_fused_kernel_in_each_of_its_layers(scenes):
    it = scenes[Family.SDXL]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):
        it.residuals(0, SCALES)
    kinds = {type(processor).__name__ for processor in it.ours[0].module.attn_processors.values()}
    assert kinds == {"AttnProcessor2_0"}


@pytest.mark.parametrize(
    ("made_for", "used_on", "why"),
    [
        (Family.SD15, Family.SDXL, "channels of text context are 32 in the one and 64 in the other"),
        (Family.SDXL, Family.SD15, "channels of text context are 64 in the one and 32 in the other"),
    ],
)
def test_a_controlnet_of_the_other_family_is_refused_in_one_sentence(folders, scenes, made_for, used_on, why):
    net = scenes[made_for].ours[0]
    with pytest.raises(GenerationFailed, match=why) as refused:
        net.require_fit(tiny_models.info(folders[used_on], used_on), scenes[used_on].unet)
    assert net.info.path not in refused.value.message, "callers need not know where things lie"
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"block_out_channels": (32, 96)}, "channels of its blocks are 32, 96 in the one and 32, 64 in the other"),
        ({"layers_per_block": 2}, "layers of its blocks are 2, 2 in the one and 1, 1 in the other"),
        ({"in_channels": 9}, "channels of latents are 9 in the one and 4 in the other"),
        ({"conditioning_embedding_out_channels": (16, 16, 32)}, "pixels of a latent are 4 in the one and 2 in the"),
    ],
)
def test_a_controlnet_of_another_shape_is_refused_in_one_sentence(folders, scenes, tmp_path, config, why):
    folder = tiny_controls.save_controlnet(tmp_path, folders[Family.SD15], **config)
    net = controlnet.load(tiny_controls.controlnet_info(folder, Family.SD15), DEVICE)
    with pytest.raises(GenerationFailed, match=why):
        net.require_fit(tiny_models.info(folders[Family.SD15], Family.SD15), scenes[Family.SD15].unet)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_controlnet_that_fits_is_let_through(folders, scenes, family):
    scenes[family].ours[0].require_fit(tiny_models.info(folders[family], family), scenes[family].unet)


def test_a_controlnet_fits_an_inpainting_unet_of_nine_channels(folders, scenes, tmp_path):
    tiny_models.save_sd15(tmp_path, in_channels=9)
    unet = UNet2DConditionModel.from_pretrained(tmp_path, subfolder="unet")
    scenes[Family.SD15].ours[0].require_fit(tiny_models.info(tmp_path, Family.SD15), unet)


@pytest.mark.parametrize(
    ("break_it", "why"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "diffusion_pytorch_model.safetensors").unlink(), "holds no .safetensors file"),
        (lambda folder: (folder / "diffusion_pytorch_model.safetensors").write_bytes(b"{}"), "is damaged"),
        (
            lambda folder: (folder / "config.json").write_text(
                (folder / "config.json").read_text().replace("ControlNetModel", "ControlNetUnionModel")
            ),
            "it is a ControlNetUnionModel",
        ),
        (
            lambda folder: (folder / "config.json").write_text(
                (folder / "config.json").read_text().replace('"cross_attention_dim": 32', '"cross_attention_dim": 40')
            ),
            "contradicts its config",
        ),
    ],
)
def test_a_folder_that_holds_no_controlnet_is_refused_in_one_sentence(folders, tmp_path, break_it, why):
    folder = tiny_controls.save_controlnet(tmp_path / "broken", folders[Family.SD15])
    break_it(folder)
    with pytest.raises(ConfigurationError, match=why) as refused:
        controlnet.load(tiny_controls.controlnet_info(folder, Family.SD15), DEVICE)
    assert refused.value.message.startswith(f"ControlNet edges at {folder} could not be loaded: ")
    assert "\n" not in refused.value.message
