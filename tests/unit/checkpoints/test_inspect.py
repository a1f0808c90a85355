"""What `describe` says of folders and files, and why it refuses some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from diffuserve.checkpoints.card import Overrides
from diffuserve.checkpoints.inspect import describe
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import Family, ModelInfo, NativeRange
from support.checkpoints import (
    PARTS,
    edit_json,
    safetensors,
    sd15_file,
    sd15_folder,
    sdxl_file,
    sdxl_folder,
    sdxl_shapes,
    weights_of,
    without,
    write_json,
)

pytestmark = pytest.mark.unit


def refusal(path: Path, overrides: Overrides | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        describe(path, "m", overrides)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_folder_of_stable_diffusion_1_is_known_with_its_own_facts(tmp_path: Path) -> None:
    folder = sd15_folder(tmp_path / "m")
    assert describe(folder, "m") == ModelInfo(
        name="m",
        family=Family.SD15,
        path=str(folder),
        size=512,
        native=NativeRange(256, 768),
        multiple=8,
        sampler="plms",
        num_inference_steps=30,
        guidance_scale=7.5,
    )


def test_a_folder_of_sdxl_is_known(tmp_path: Path) -> None:
    info = describe(sdxl_folder(tmp_path / "m"), "m")
    assert (info.family, info.size, info.native) == (Family.SDXL, 1024, NativeRange(512, 1536))


def test_the_factor_of_the_vae_makes_the_size_and_the_multiple(tmp_path: Path) -> None:
    folder = sd15_folder(tmp_path / "m")
    edit_json(folder / "vae" / "config.json", block_out_channels=[1, 1, 1])
    info = describe(folder, "m")
    assert (info.size, info.multiple) == (256, 4)


def test_the_embedded_model_is_known_by_its_card() -> None:
    from diffuserve.checkpoints.hub import resolve

    info = describe(resolve("emoji-mini"), "emoji-mini")
    assert (info.size, info.native, info.multiple) == (128, NativeRange(128, 128), 8)
    assert (info.num_inference_steps, info.guidance_scale) == (20, 3.0)
    assert (info.sampler, info.languages) == ("ddim", ("en", "zh"))


@pytest.mark.parametrize("make", [sd15_file, sdxl_file])
def test_a_single_file_is_known_by_the_names_of_its_tensors(tmp_path: Path, make: object) -> None:
    info = describe(make(tmp_path / "m.safetensors"), "m")  # type: ignore[operator]
    expected = (Family.SD15, 512) if make is sd15_file else (Family.SDXL, 1024)
    assert (info.family, info.size) == expected


def test_what_the_owner_says_wins_over_the_card_and_that_over_the_checkpoint(tmp_path: Path) -> None:
    folder = sd15_folder(tmp_path / "m")
    write_json(folder / "diffuserve.json", {"num_inference_steps": 8, "sampler": "Euler a", "aliases": ["x"]})
    info = describe(folder, "m", Overrides(num_inference_steps=4, guidance_scale=0.0))
    assert (info.num_inference_steps, info.sampler, info.aliases) == (4, "euler_a", ("x",))
    assert (info.guidance_scale, info.size) == (0.0, 512)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (Overrides(native_min=512), NativeRange(512, 768)),
        (Overrides(native_max=128), NativeRange(128, 128)),
        (Overrides(native_min=1024), NativeRange(1024, 1024)),
        (Overrides(native_min=64, native_max=96), NativeRange(64, 96)),
    ],
)
def test_one_end_of_the_native_range_moves_the_other_where_it_must(
    tmp_path: Path, said: Overrides, expected: NativeRange
) -> None:
    assert describe(sd15_folder(tmp_path / "m"), "m", said).native == expected


def test_a_native_range_that_is_upside_down_is_refused(tmp_path: Path) -> None:
    said = Overrides(native_min=512, native_max=256)
    assert "native_min must be at most native_max" in refusal(sd15_folder(tmp_path / "m"), said)


def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent") == f"there is no model at {tmp_path / 'absent'}"


def test_a_folder_without_an_index_is_refused_and_a_file_in_it_pointed_out(tmp_path: Path) -> None:
    assert "model_index.json" in refusal(tmp_path)
    sd15_file(tmp_path / "a.safetensors")
    assert f"name the file itself: {tmp_path / 'a.safetensors'}" in refusal(tmp_path)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_without_weights_is_refused_by_name(tmp_path: Path, part: str) -> None:
    folder = sd15_folder(tmp_path / "m")
    weights_of(folder, part).unlink()
    assert f"incomplete: {part} has no" in refusal(folder)


@pytest.mark.parametrize("part", PARTS)
def test_weights_that_are_cut_off_are_refused(tmp_path: Path, part: str) -> None:
    weights = weights_of(sd15_folder(tmp_path / "m"), part)
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "cut off" in refusal(tmp_path / "m")


def test_a_part_with_pickles_only_is_refused_because_they_run_code(tmp_path: Path) -> None:
    folder = sd15_folder(tmp_path / "m")
    weights_of(folder, "unet").rename(folder / "unet" / "diffusion_pytorch_model.bin")
    assert "pickled weights (diffusion_pytorch_model.bin)" in refusal(folder)


def test_weights_in_half_precision_only_are_taken(tmp_path: Path) -> None:
    folder = sd15_folder(tmp_path / "m")
    weights_of(folder, "unet").rename(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert describe(folder, "m").family is Family.SD15


def test_weights_in_shards_are_taken_when_all_are_there(tmp_path: Path) -> None:
    folder = sd15_folder(tmp_path / "m")
    unet = folder / "unet"
    weights_of(folder, "unet").rename(unet / "shard-1.safetensors")
    index = unet / "diffusion_pytorch_model.safetensors.index.json"
    write_json(index, {"weight_map": {"a": "shard-1.safetensors"}})
    assert describe(folder, "m").family is Family.SD15
    write_json(index, {"weight_map": {"a": "shard-1.safetensors", "b": "shard-2.safetensors"}})
    assert "unet has no shard-2.safetensors" in refusal(folder)


def test_an_index_of_shards_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    folder = sd15_folder(tmp_path / "m")
    weights_of(folder, "unet").rename(tmp_path / "outside.safetensors")
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    write_json(index, {"weight_map": {"a": "../../outside.safetensors"}})
    assert "outside its folder" in refusal(folder)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_tokenizer_that_is_incomplete_is_refused(tmp_path: Path, name: str) -> None:
    folder = sd15_folder(tmp_path / "m")
    (folder / "tokenizer" / name).unlink()
    assert f"tokenizer has no {name}" in refusal(folder)


def test_a_second_text_encoder_is_needed_for_sdxl(tmp_path: Path) -> None:
    folder = sdxl_folder(tmp_path / "m")
    weights_of(folder, "text_encoder_2").unlink()
    assert "text_encoder_2 has no model.safetensors" in refusal(folder)


def test_another_pipeline_is_refused_by_name(tmp_path: Path) -> None:
    folder = sd15_folder(tmp_path / "m")
    write_json(folder / "model_index.json", {"_class_name": "FluxPipeline"})
    assert "FluxPipeline, which is not supported" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"in_channels": 8}, "an editing model"),
        ({"addition_embed_type": "text_time"}, "contradicts itself"),
    ],
)
def test_a_unet_that_cannot_be_drawn_with_is_refused(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    folder = sd15_folder(tmp_path / "m")
    edit_json(folder / "unet" / "config.json", **change)
    assert sentence in refusal(folder)


def test_a_latent_consistency_model_wants_four_steps(tmp_path: Path) -> None:
    folder = sd15_folder(tmp_path / "m")
    edit_json(folder / "model_index.json", _class_name="LatentConsistencyModelPipeline")
    edit_json(folder / "unet" / "config.json", time_cond_proj_dim=256)
    edit_json(folder / "scheduler" / "scheduler_config.json", _class_name="LCMScheduler")
    found = describe(folder, "m")
    assert (found.sampler, found.num_inference_steps, found.guidance_scale) == ("lcm", 4, 8.5)


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
@pytest.mark.parametrize("name", ["model_index.json", "unet/config.json", "vae/config.json", "diffuserve.json"])
def test_a_config_that_is_no_json_object_is_refused_by_name(tmp_path: Path, name: str, text: str) -> None:
    folder = sd15_folder(tmp_path / "m")
    (folder / name).write_text(text)
    assert Path(name).name in refusal(folder)


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        ({"steps": 3}, "unknown fields: steps"),
        ({"num_inference_steps": 0}, "num_inference_steps must be a whole number from 1 to 500"),
        ({"num_inference_steps": True}, "num_inference_steps must be"),
        ({"guidance_scale": -1}, "guidance_scale must be a number from 0 to 100"),
        ({"languages": "en"}, "languages must be a list"),
        ({"hires": 1}, "hires must be true or false"),
        ({"sampler": "Magic"}, "sampler must be one of"),
        ({"sampler": "DPM++ 2M Karras"}, "without a schedule"),
    ],
)
def test_a_card_that_is_wrong_is_refused(tmp_path: Path, card: dict[str, object], sentence: str) -> None:
    folder = sd15_folder(tmp_path / "m")
    write_json(folder / "diffuserve.json", card)
    assert sentence in refusal(folder)


@pytest.mark.parametrize("suffix", [".ckpt", ".bin", ".pt", ".PTH"])
def test_a_pickle_is_refused_unopened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(b"\x80\x04.")
    assert "is a pickle" in refusal(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.txt"
    path.touch()
    assert "neither a folder nor a .safetensors file" in refusal(path)


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        ({"lora_unet_down.lora_up.weight": (2, 2)}, "is a LoRA"),
        ({"double_blocks.0.weight": (2, 2)}, "is not a Stable Diffusion 1.x or SDXL checkpoint"),
        ({}, "is not a Stable Diffusion"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], sentence: str
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors(shapes))
    assert sentence in refusal(path)


@pytest.mark.parametrize(
    ("prefix", "sentence"), [("first_stage_model.", "holds no VAE"), ("cond_stage_model.", "holds no text encoder")]
)
def test_a_file_without_one_of_its_parts_is_refused(tmp_path: Path, prefix: str, sentence: str) -> None:
    assert sentence in refusal(without(tmp_path / "m.safetensors", prefix))


def test_a_file_for_editing_is_refused(tmp_path: Path) -> None:
    changes = {"model.diffusion_model.input_blocks.0.0.weight": (8, 8, 3, 3)}
    assert "an editing model" in refusal(sd15_file(tmp_path / "m.safetensors", **changes))


def test_a_file_for_inpainting_is_known(tmp_path: Path) -> None:
    changes = {"model.diffusion_model.input_blocks.0.0.weight": (8, 9, 3, 3)}
    assert describe(sd15_file(tmp_path / "m.safetensors", **changes), "m").inpainting
    assert not describe(sd15_file(tmp_path / "m.safetensors"), "m").inpainting


@pytest.mark.parametrize(
    ("make", "name"),
    [(sd15_folder, "StableDiffusionInpaintPipeline"), (sdxl_folder, "StableDiffusionXLInpaintPipeline")],
)
def test_a_folder_for_inpainting_is_known(tmp_path: Path, make: Callable[[Path], Path], name: str) -> None:
    folder = make(tmp_path / "m")
    write_json(folder / "model_index.json", {"_class_name": name})
    assert not describe(folder, "m").inpainting
    edit_json(folder / "unet" / "config.json", in_channels=9)
    assert describe(folder, "m").inpainting


def test_the_width_of_the_text_that_is_read_is_known(tmp_path: Path) -> None:
    folder = sd15_folder(tmp_path / "m")
    edit_json(folder / "unet" / "config.json", cross_attention_dim=1024)
    assert describe(folder, "m").context_width == 1024
    key = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    assert describe(sd15_file(tmp_path / "m.safetensors", **{key: (8, 96)}), "m").context_width == 96
    assert describe(sdxl_file(tmp_path / "m.safetensors"), "m").context_width == 2048


@pytest.mark.parametrize(
    ("card", "said", "expected"),
    [
        ({}, None, True),
        ({"hires": False}, None, False),
        ({"hires": False}, True, True),
        ({"native_min": 512, "native_max": 512}, None, False),
        ({"native_min": 512, "native_max": 512, "hires": True}, None, True),
        ({}, False, False),
    ],
)
def test_two_passes_are_for_models_that_know_more_than_one_size_unless_somebody_says_otherwise(
    tmp_path: Path, card: dict[str, object], said: bool | None, expected: bool
) -> None:
    folder = sd15_folder(tmp_path / "m")
    write_json(folder / "diffuserve.json", card)
    assert describe(folder, "m", Overrides(hires=said)).hires is expected


def test_a_file_of_stable_diffusion_2_is_refused_because_it_does_not_say_what_it_predicts(tmp_path: Path) -> None:
    changes = {
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": None,
        "cond_stage_model.model.token_embedding.weight": (2, 2),
    }
    assert "Stable Diffusion 2" in refusal(sd15_file(tmp_path / "m.safetensors", **changes))


def test_a_refiner_is_refused(tmp_path: Path) -> None:
    shapes = {**sdxl_shapes(), "conditioner.embedders.0.model.token_embedding.weight": (2, 2)}
    shapes = {name: shape for name, shape in shapes.items() if ".embedders.1." not in name}
    assert "refiner" in refusal(without(tmp_path / "m.safetensors", "conditioner.embedders.0.transformer.", shapes))
