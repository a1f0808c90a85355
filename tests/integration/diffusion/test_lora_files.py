"""Every layout of LoRA files: against diffusers with PEFT, and against weights that were added to by hand."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from diffuserve.core.model import Family
from diffuserve.core.request import Lora
from diffuserve.engine.diffusion.lora_names import unet_spellings
from support import lora_bench, lora_files
from support.lora_bench import (
    CLOSE,
    Bench,
    assert_merged,
    difference,
    draw,
    empty,
    encode,
    forward,
    info,
    parts,
    pipeline,
)

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def benches(folders: dict[Family, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[Family, Bench]:
    return {
        family: lora_bench.make(family, folder, tmp_path_factory.mktemp(family)) for family, folder in folders.items()
    }


@pytest.fixture(params=Family)
def bench(benches: dict[Family, Bench], request: pytest.FixtureRequest) -> Bench:
    return benches[request.param]


LAYOUTS = [
    (lora_files.peft, lora_files.everything),
    (lora_files.diffusers, lora_files.linear_layers),
    (lora_files.attention_processors, lora_files.attention),
    (lora_files.kohya, lora_files.linear_layers),
]


@pytest.mark.parametrize(("layout", "which"), LAYOUTS, ids=lambda value: value.__name__)
def test_a_mix_of_two_files_draws_what_diffusers_with_peft_draws(bench, layout, which, tmp_path):
    changes = [lora_files.random_lora(bench.model, seed, rank=seed, which=which) for seed in (3, 4)]
    paths = [
        lora_files.write(tmp_path / f"{name}.safetensors", layout(c)) for name, c in zip("ab", changes, strict=True)
    ]
    assert_like_peft(bench, paths)


def test_kohya_files_with_the_original_blocks_of_sdxl_draw_what_diffusers_with_peft_draws(benches, tmp_path):
    bench = benches[Family.SDXL]
    paths = []
    for name, seed in (("a", 3), ("b", 4)):
        changes = lora_files.random_lora(bench.model, seed)
        paths.append(lora_files.write(tmp_path / f"{name}.safetensors", lora_files.kohya_sgm(changes)))
    assert_like_peft(bench, paths)


def test_each_place_of_the_original_blocks_is_found(bench, tmp_path):
    changes = lora_files.random_lora(bench.model, 5, which=lora_files.everything)
    loras = empty(bench.family, bench.model)
    loras.read(info(bench.family, lora_files.write(tmp_path / "sgm.safetensors", lora_files.kohya_sgm(changes))))
    assert_merged(bench, loras, changes, "lora")


def test_original_blocks_without_attention_have_their_upsampler_in_its_place():
    """SD1.x has such a block; the number is another than in a block with attention."""
    blocks = {
        "down_block_types": ("DownBlock2D",) * 3,
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    }
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(32, 64, 64), cross_attention_dim=32, layers_per_block=2, **blocks
        )
    spelled = unet_spellings([name for name, _ in unet.named_modules()], 2)
    assert spelled["output_blocks_2_1_conv"] == "up_blocks.0.upsamplers.0.conv"
    assert spelled["output_blocks_5_2_conv"] == "up_blocks.1.upsamplers.0.conv"
    assert spelled["input_blocks_3_0_op"] == "down_blocks.0.downsamplers.0.conv"
    assert spelled["middle_block_2_in_layers_2"] == "mid_block.resnets.1.conv1"


def test_names_without_a_part_are_the_unet_s(bench, tmp_path):
    changes = lora_files.random_lora({"unet": bench.model["unet"]}, 10, which=lora_files.attention)
    tensors = {n.removeprefix("unet."): t for n, t in lora_files.attention_processors(changes).items()}
    loras = empty(bench.family, bench.model)
    loras.read(info(bench.family, lora_files.write(tmp_path / "bare.safetensors", tensors)))
    assert_merged(bench, loras, changes, "lora")


def test_alphas_that_differ_between_modules_each_count(bench, tmp_path):
    alphas = itertools.cycle((4.0, 4.0, 0.5, 12.0))
    changes = lora_files.random_lora(bench.model, 6, alpha=lambda _: next(alphas), which=lora_files.everything)
    loras = empty(bench.family, bench.model)
    loras.read(info(bench.family, lora_files.write(tmp_path / "alphas.safetensors", lora_files.kohya(changes))))
    assert_merged(bench, loras, changes, "lora")


def test_peft_s_config_in_the_header_counts(bench, tmp_path):
    """alpha, the patterns that change it for some modules, and rank-stabilised scaling."""
    unet = lora_files.random_lora({"unet": bench.model["unet"]}, 7, rank=4, alpha=lambda _: 4.0)
    config = {"unet.r": 4, "unet.lora_alpha": 8, "unet.use_rslora": True, "unet.alpha_pattern": {"attn1.to_q": 2}}
    path = lora_files.write(tmp_path / "p.safetensors", lora_files.peft(unet), lora_adapter_metadata=json.dumps(config))
    loras = empty(bench.family, bench.model)
    loras.read(info(bench.family, path))
    scales = {place: (2 if place[1].endswith("attn1.to_q") else 8) / 4**0.5 for place in unet}
    scaled = {place: lora_files.Change(change.down, change.up, scales[place] * 4) for place, change in unet.items()}
    assert_merged(bench, loras, scaled, "lora")
    theirs = pipeline(bench.family, bench.folder)
    theirs.unet.load_lora_adapter(
        lora_files.peft(unet), prefix="unet", metadata={**config, "unet.target_modules": [n for _, n in unet]}
    )
    assert difference(draw(bench, [(Lora("lora"),)], loras=loras), forward(theirs.unet, bench.family, [0])) < CLOSE


def test_a_convolution_s_first_factor_may_come_in_two(bench, tmp_path):
    """LoCon's `lora_mid`: 1x1 into the rank, the kernel, 1x1 out of it."""
    [(place, change)] = lora_files.random_lora(
        {"unet": bench.model["unet"]}, 8, which=lambda _, name: name == "mid_block.resnets.0.conv1"
    ).items()
    tensors = lora_files.kohya({place: change})
    mid, down = torch.randn(4, 4, 3, 3), torch.randn(4, 64, 1, 1)
    tensors["lora_unet_mid_block_resnets_0_conv1.lora_mid.weight"] = mid
    tensors["lora_unet_mid_block_resnets_0_conv1.lora_down.weight"] = down
    loras = empty(bench.family, bench.model)
    loras.read(info(bench.family, lora_files.write(tmp_path / "mid.safetensors", tensors)))
    layer, given_ = bench.model["unet"].get_submodule(place[1]), torch.randn(1, 64, 8, 8)
    with loras.unet_rows([(Lora("lora", 0.5),)]), torch.no_grad():
        changed = layer(given_)
    steps = torch.nn.functional.conv2d(torch.nn.functional.conv2d(given_, down), mid, padding=1)
    added = torch.nn.functional.conv2d(steps, change.up) * 0.5 * change.alpha / 4
    assert difference(changed, layer(given_) + added) < 10 * CLOSE


def test_files_may_have_the_shapes_of_a_1x1_convolution_for_a_linear_layer_and_the_reverse(bench, tmp_path):
    changes = lora_files.random_lora({"unet": bench.model["unet"]}, 9, which=lambda _, name: "proj_in" in name)
    tensors = {
        name: tensor[..., None, None] if tensor.ndim == 2 else tensor.flatten(1) if tensor.ndim == 4 else tensor
        for name, tensor in lora_files.kohya(changes).items()
    }
    loras = empty(bench.family, bench.model)
    loras.read(info(bench.family, lora_files.write(tmp_path / "shapes.safetensors", tensors)))
    assert_merged(bench, loras, changes, "lora")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_strength_of_a_small_alpha(bench, dtype, tmp_path):
    model = {part: copy.deepcopy(module).to(dtype) for part, module in bench.model.items()}
    changes = lora_files.random_lora({"unet": bench.model["unet"]}, 11, alpha=lambda _: 0.002)
    strong = {place: lora_files.Change(c.down, c.up, 2.0) for place, c in changes.items()}
    loras = empty(bench.family, model, dtype)
    for name, changed in (("weak", changes), ("strong", strong)):
        path = lora_files.write(tmp_path / f"{name}.safetensors", lora_files.kohya(changed), torch.float16)
        loras.read(info(bench.family, path, name))
    weak = draw(bench, [(Lora("weak", 10.0),)], loras=loras, unet=model["unet"])
    same = draw(bench, [(Lora("strong", 0.01),)], loras=loras, unet=model["unet"])
    assert difference(weak, same) <= 0.02
    assert weak.dtype is dtype


def assert_like_peft(bench: Bench, paths: Sequence[Path]) -> None:
    """Both files together, weighted 0.5 and 0.7: the UNet's prediction and what the text encoders make of a prompt."""
    theirs = pipeline(bench.family, bench.folder)
    loras = empty(bench.family, bench.model)
    for path in paths:
        theirs.load_lora_weights(path.parent, weight_name=path.name, adapter_name=path.stem)
        loras.read(info(bench.family, path, path.stem))
    theirs.set_adapters([path.stem for path in paths], [0.5, 0.7])
    mix = tuple(Lora(path.stem, weight) for path, weight in zip(paths, (0.5, 0.7), strict=True))
    expected = forward(theirs.unet, bench.family, [0])
    assert difference(draw(bench, [mix], loras=loras), expected) < CLOSE
    assert difference(expected, forward(bench.model["unet"], bench.family, [0])) > 0.01
    with loras.text(mix):
        encoded = encode(bench.model)
    expected_text = encode(parts(theirs, bench.family))
    assert all(difference(*pair) < CLOSE for pair in zip(encoded, expected_text, strict=True))
    assert all(difference(*pair) > 0.01 for pair in zip(encoded, encode(bench.model), strict=True))
