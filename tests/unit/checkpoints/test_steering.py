"""What LoRA, ControlNet and adapter files are for, told by their headers; and all that steers a server's models."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffuserve.checkpoints.collect import collect
from diffuserve.checkpoints.entries import AdapterEntry, ControlNetEntry, LoraEntry
from diffuserve.checkpoints.inspect import describe
from diffuserve.checkpoints.steering import collect_steering, look_at_adapter, look_at_controlnet, look_at_lora
from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import AdapterInfo, ControlNetInfo, Family, LoraInfo, ModelInfo
from support.checkpoints import (
    LORA_LAYOUTS,
    adapter_file,
    controlnet_folder,
    encoder_folder,
    lora_file,
    sd15_folder,
    tensors_file,
    write_json,
)
from support.models import model_info

pytestmark = pytest.mark.unit

TINY = model_info(aliases=("t",))
BIG = model_info(name="big", family=Family.SDXL)
MODELS = (TINY, BIG)


def lora_of(path: Path, *models: str) -> LoraInfo:
    return look_at_lora(LoraEntry("ink", str(path), models, ("pen",), "Ink drawings."), MODELS)


def net_of(path: Path, *models: str) -> ControlNetInfo:
    return look_at_controlnet(ControlNetEntry("edges", str(path), "canny", models), MODELS)


def adapter_of(path: Path, encoder: Path, *models: str) -> AdapterInfo:
    return look_at_adapter(AdapterEntry("plus", str(path), str(encoder), models), MODELS)


def sentence(caught: pytest.ExceptionInfo[ConfigurationError]) -> str:
    assert "\n" not in caught.value.message
    return caught.value.message


# LoRAs


@pytest.mark.parametrize("layout", LORA_LAYOUTS)
@pytest.mark.parametrize(("width", "family"), [(768, Family.SD15), (1024, Family.SD15), (2048, Family.SDXL)])
def test_a_lora_is_known_by_the_width_of_the_text_that_it_reads(
    tmp_path: Path, layout: str, width: int, family: Family
) -> None:
    path = lora_file(tmp_path / "ink.safetensors", width, LORA_LAYOUTS[layout])
    assert lora_of(path) == LoraInfo("ink", family, str(path), (), ("pen",), "Ink drawings.", width)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", Family.SDXL),
        ("text_encoder_2.text_model.encoder.layers.0.mlp.fc1.lora_A.weight", Family.SDXL),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_k.lora_down.weight", Family.SDXL),
        ("unet.mid_block.attentions.0.transformer_blocks.7.attn1.to_k.lora_A.weight", Family.SDXL),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k.lora_down.weight", Family.SD15),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", Family.SD15),
        ("text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_A.weight", Family.SD15),
    ],
)
def test_a_lora_without_cross_attention_is_known_by_its_names(tmp_path: Path, name: str, family: Family) -> None:
    found = lora_of(tensors_file(tmp_path / "ink.safetensors", {name: (4, 640)}))
    assert (found.family, found.context_width) == (family, 0)


def test_a_lora_that_does_not_show_its_family_is_believed_to_fit_the_models_it_is_listed_for(tmp_path: Path) -> None:
    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_k.lora_A.weight"
    path = tensors_file(tmp_path / "ink.safetensors", {name: (4, 640)})
    with pytest.raises(ConfigurationError) as caught:
        lora_of(path)
    assert 'models = ["..."]' in sentence(caught)
    assert lora_of(path, "BIG").family is Family.SDXL
    assert lora_of(path, "T").models == ("tiny",)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lora_unet_mid_block.hada_w1_a", "is of the kind LoHa, which is not supported"),
        ("lora_unet_mid_block.lokr_w1", "is of the kind LoKr"),
        ("unet.mid_block.to_k.lora_magnitude_vector.weight", "is of the kind DoRA"),
        ("lora_controlnet.input_hint.lora_down.weight", "is of the kind Control-LoRA"),
        ("model.diffusion_model.input_blocks.0.0.weight", "is a whole model, not a LoRA"),
        ("something.weight", "is not a LoRA"),
    ],
)
def test_a_file_that_is_no_plain_lora_is_refused(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        lora_of(tensors_file(tmp_path / "ink.safetensors", {name: (4, 4)}), "tiny")
    assert said in sentence(caught)


def test_a_lora_that_is_absent_a_pickle_cut_off_or_a_folder_is_refused(tmp_path: Path) -> None:
    whole = lora_file(tmp_path / "ink.safetensors")
    whole.write_bytes(whole.read_bytes()[:-1])
    (tmp_path / "ink.pt").write_bytes(b"\x80\x04.")
    for path, said in (
        (whole, "is cut off"),
        (tmp_path / "ink.pt", "is a pickle"),
        (tmp_path / "absent.safetensors", "there is no LoRA at"),
        (tmp_path, "is not a .safetensors file"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            lora_of(path)
        assert said in sentence(caught)


# ControlNets


def test_a_controlnet_is_known_by_its_config(tmp_path: Path) -> None:
    folder = controlnet_folder(tmp_path / "edges")
    assert net_of(folder) == ControlNetInfo("edges", Family.SD15, str(folder), "canny", context_width=768)
    xl = controlnet_folder(tmp_path / "xl", addition_embed_type="text_time", cross_attention_dim=2048)
    assert (net_of(xl).family, net_of(xl).context_width) == (Family.SDXL, 2048)


def test_a_controlnet_in_half_precision_only_is_taken(tmp_path: Path) -> None:
    folder = controlnet_folder(tmp_path / "edges")
    weights = folder / "diffusion_pytorch_model.safetensors"
    weights.rename(folder / "diffusion_pytorch_model.fp16.safetensors")
    assert net_of(folder).name == "edges"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"_class_name": "ControlNetUnionModel"}, "is a ControlNetUnionModel, not a plain"),
        ({"_class_name": ""}, "is a nameless module"),
        ({"conditioning_channels": 1}, "of other than 3 channels"),
    ],
)
def test_another_kind_of_controlnet_is_refused(tmp_path: Path, config: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        net_of(controlnet_folder(tmp_path / "edges", **config))
    assert said in sentence(caught)


def test_a_controlnet_that_is_incomplete_is_refused(tmp_path: Path) -> None:
    folder = controlnet_folder(tmp_path / "edges")
    weights = folder / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    for spoil, said in (
        (lambda: None, "is cut off"),
        (lambda: weights.rename(weights.with_suffix(".bin")), "pickled weights (diffusion_pytorch_model.bin)"),
        (lambda: weights.with_suffix(".bin").unlink(), "it has no diffusion_pytorch_model.safetensors"),
        (lambda: (folder / "config.json").unlink(), "it has no config.json"),
        (lambda: folder.rmdir(), "there is no ControlNet at"),
        (lambda: folder.touch(), "is a single file: a ControlNet must be a folder"),
    ):
        spoil()
        with pytest.raises(ConfigurationError) as caught:
            net_of(folder)
        assert said in sentence(caught)


# Adapters

PLUS = {"image_proj.proj.weight": None, "image_proj.latents": (1, 16, 768), "image_proj.proj_in.weight": (768, 1280)}
FULL = {
    "image_proj.proj.weight": None,
    "image_proj.norm.weight": None,
    "image_proj.proj.0.weight": (1280, 1280),
    "image_proj.proj.3.weight": (768,),
}
FACE_ID = {"image_proj.proj.weight": None, "image_proj.proj.0.weight": (1024, 512)}


@pytest.mark.parametrize("shapes", [{}, PLUS, FULL], ids=["base", "plus", "full"])
@pytest.mark.parametrize(("width", "family"), [(768, Family.SD15), (2048, Family.SDXL), (64, Family.SD15)])
def test_an_adapter_is_known_by_its_keys(
    tmp_path: Path, width: int, family: Family, shapes: dict[str, tuple[int, ...] | None]
) -> None:
    path, encoder = adapter_file(tmp_path / "a.safetensors", width, **shapes), encoder_folder(tmp_path / "clip")
    assert adapter_of(path, encoder) == AdapterInfo("plus", family, str(path), str(encoder), context_width=width)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (FACE_ID, "is a FaceID adapter"),
        ({"ip_adapter.1.to_q_lora.down.weight": (4, 4)}, "is a FaceID adapter"),
        ({"ip_adapter.1.to_k_ip.weight": None, "ip_adapter.1.to_v_ip.weight": None}, "is not an IP-Adapter"),
        ({"image_proj.proj.weight": None, "image_proj.norm.weight": None}, "of an unknown kind"),
    ],
)
def test_another_kind_of_adapter_is_refused(
    tmp_path: Path, shapes: dict[str, tuple[int, ...] | None], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        adapter_of(adapter_file(tmp_path / "a.safetensors", **shapes), encoder_folder(tmp_path / "clip"))
    assert said in sentence(caught)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"projection_dim": 768}, "it gives embeddings of 768 channels, not 1024"),
        ({"model_type": "siglip_vision_model"}, "is not a CLIP vision model"),
    ],
)
def test_an_encoder_that_the_adapter_was_not_trained_with_is_refused(
    tmp_path: Path, config: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        adapter_of(adapter_file(tmp_path / "a.safetensors"), encoder_folder(tmp_path / "clip", **config))
    assert said in sentence(caught)


# All of them


def test_an_entry_for_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        lora_of(lora_file(tmp_path / "ink.safetensors"), "absent")
    assert sentence(caught) == "[[loras]] ink: models names absent, which is not there; there are tiny, big"


def test_an_entry_for_models_of_different_families_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="different families"):
        lora_of(lora_file(tmp_path / "ink.safetensors"), "tiny", "big")


@pytest.fixture
def equipped(tmp_path: Path) -> ModelInfo:
    """A model whose folder brings a LoRA and two ControlNets."""
    folder = sd15_folder(tmp_path / "own")
    lora_file(folder / "loras" / "pixel.safetensors")
    controlnet_folder(folder / "controlnets" / "depth")
    controlnet_folder(folder / "controlnets" / "my-edges")
    write_json(folder / "controlnets" / "notes.json", {})
    return describe(folder, "own")


def test_what_a_models_folder_brings_fits_that_model(tmp_path: Path, equipped: ModelInfo) -> None:
    other = describe(sd15_folder(tmp_path / "other"), "other")
    found = collect_steering([equipped, other])
    assert [(one.name, one.models) for one in found.loras] == [("pixel", ("own",))]
    assert [(one.name, one.kind, one.models) for one in found.controlnets] == [
        ("depth", "depth", ("own",)),
        ("my-edges", "canny", ("own",)),
    ]
    assert not found.loras[0].fits(other)


def test_what_a_folder_brings_serves_every_model_that_lies_there(tmp_path: Path, equipped: ModelInfo) -> None:
    again = describe(Path(equipped.path), "again")
    assert collect_steering([equipped, again]).loras[0].models == ("own", "again")


def test_two_folders_may_bring_the_same_name(tmp_path: Path, equipped: ModelInfo) -> None:
    folder = sd15_folder(tmp_path / "second")
    lora_file(folder / "loras" / "Pixel.safetensors")
    found = collect_steering([equipped, describe(folder, "second")]).loras
    assert [(one.name, one.models) for one in found] == [("pixel", ("own",)), ("Pixel-second", ("second",))]


def test_one_that_is_listed_takes_the_place_of_one_of_its_name(tmp_path: Path, equipped: ModelInfo) -> None:
    mine = lora_file(tmp_path / "mine.safetensors")
    found = collect_steering([equipped], [LoraEntry("PIXEL", str(mine), aliases=("p",))]).loras
    assert [(one.name, one.path) for one in found] == [("PIXEL", str(mine))]


def test_listed_ones_of_every_kind_are_collected(tmp_path: Path) -> None:
    found = collect_steering(
        MODELS,
        [LoraEntry("ink", str(lora_file(tmp_path / "ink.safetensors")))],
        [ControlNetEntry("edges", str(controlnet_folder(tmp_path / "edges")))],
        [
            AdapterEntry(
                "plus", str(adapter_file(tmp_path / "a.safetensors")), str(encoder_folder(tmp_path / "clip")), ("tiny",)
            )
        ],
    )
    assert [one.name for one in (*found.loras, *found.controlnets, *found.adapters)] == ["ink", "edges", "plus"]
    assert found.adapters[0].models == ("tiny",)


def test_the_embedded_model_is_not_confused_by_what_it_brings() -> None:
    models, default = collect([], "emoji-mini")
    found = collect_steering(models)
    assert all(one.models == (default,) for one in (*found.loras, *found.controlnets))
