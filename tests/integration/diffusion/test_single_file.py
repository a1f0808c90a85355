"""One file in the original key layout draws what the same model draws from a diffusers folder, or says why it cannot."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from diffuserve.core.errors import ConfigurationError
from diffuserve.core.model import Family
from diffuserve.core.samplers import SAMPLERS
from diffuserve.engine.diffusion import clip_vocabulary, device, models, original_layout, single_file
from diffuserve.engine.diffusion.denoise import Scene, denoise
from diffuserve.engine.diffusion.samplers import Solvers
from support import single_files, tiny_models
from support.single_files import Tensors
from support.studio import Studio, difference, request

pytestmark = pytest.mark.integration

CPU = device.choose("cpu", "float32")
SHIPPED = Path(single_file.__file__).parent / "configs"
UNET = "model.diffusion_model."
TEXT = "cond_stage_model.transformer.text_model."
# What the published models have: their own papers' and model cards' numbers.
PARAMETERS = {
    Family.SD15: {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
    Family.SDXL: {
        "unet": 2_567_463_684,
        "vae": 83_653_863,
        "text_encoder": 123_060_480,
        "text_encoder_2": 694_659_840,
    },
}


@pytest.fixture(scope="module")
def sd15(folders: dict[Family, Path]) -> Tensors:
    return single_files.tensors_of(folders[Family.SD15], Family.SD15)


@pytest.fixture(scope="module")
def sdxl(folders: dict[Family, Path]) -> Tensors:
    return single_files.tensors_of(folders[Family.SDXL], Family.SDXL)


@pytest.fixture
def tiny_configs(folders: dict[Family, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read with the tiny models' configs instead of the real ones."""
    _use_configs(folders, monkeypatch)


def _use_configs(folders: dict[Family, Path], patch: pytest.MonkeyPatch) -> None:
    read = single_file.read
    patch.setattr(single_file, "read", lambda path, family: read(path, family, configs=folders[family]))


def load(path: Path, family: Family) -> models.Model:
    return models.load(tiny_models.info(path, family), CPU)


def refusal(path: Path, family: Family = Family.SD15) -> str:
    """The sentence with which `path` is refused."""
    with pytest.raises(ConfigurationError) as refused:
        load(path, family)
    message = refused.value.message
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("family", Family)
def test_a_file_draws_what_its_folder_draws(tmp_path, tiny_configs, folders, studios, family):
    path = single_files.save(folders[family], tmp_path / "model.safetensors", family)
    asked = request("a small red house", negative_prompt="blur", seed=7)
    [expected] = studios[family].draw(asked)
    [drawn] = Studio(tiny_models.info(path, family)).draw(asked)
    assert expected.std() > 1
    assert difference(drawn, expected) <= 1


@pytest.mark.parametrize("family", Family)
def test_every_weight_of_a_file_is_its_folders_weight(tmp_path, tiny_configs, folders, family):
    path = single_files.save(folders[family], tmp_path / "model.safetensors", family)
    ours, theirs = load(path, family), load(folders[family], family)
    pairs = [(ours.unet, theirs.unet), (ours.vae, theirs.vae)]
    pairs += [
        (mine.encoder, other.encoder)
        for mine, other in zip(ours.conditioner.towers, theirs.conditioner.towers, strict=True)
    ]
    for mine, other in pairs:
        expected = other.state_dict()
        assert mine.state_dict().keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in mine.state_dict().items())


@pytest.mark.parametrize("family", Family)
def test_a_half_precision_file_loads_in_the_devices_precision(tmp_path, tiny_configs, folders, family):
    path = single_files.save(folders[family], tmp_path / "model.safetensors", family, torch.float16)
    model = load(path, family)
    modules = [model.unet, model.vae, *(tower.encoder for tower in model.conditioner.towers)]
    assert {parameter.dtype for module in modules for parameter in module.parameters()} == {torch.float32}


def test_a_file_of_mixed_precisions_loads_in_one(tmp_path, tiny_configs, sd15):
    mixed = {name: t.half() if name.startswith(f"{UNET}out.") else t for name, t in sd15.items()}
    model = load(single_files.write(tmp_path / "model.safetensors", mixed), Family.SD15)
    assert {parameter.dtype for parameter in model.unet.parameters()} == {torch.float32}


def test_averages_and_training_leftovers_are_passed_over(tmp_path, tiny_configs, sd15):
    extra = {
        "model_ema.diffusion_modelout2weight": torch.zeros(3),
        "first_stage_model.loss.logvar": torch.zeros(1),
        "alphas_cumprod": torch.zeros(1000),
        "cond_stage_model.transformer.text_projection.weight": torch.zeros(32, 32),
    }
    path = single_files.write(tmp_path / "model.safetensors", sd15 | extra)
    assert load(path, Family.SD15).unet.dtype == torch.float32


@pytest.mark.parametrize(
    ("part", "theirs", "written"),
    [
        ("text encoder without text_model", TEXT, "cond_stage_model.transformer."),
        ("VAE attention under to_q and to_out", ".attn_1.q.", ".attn_1.to_q."),
        ("VAE attention under to_q and to_out", ".attn_1.proj_out.", ".attn_1.to_out.0."),
    ],
)
def test_known_misspellings_of_keys_are_understood(tmp_path, tiny_configs, sd15, part, theirs, written):
    path = single_files.write(
        tmp_path / "model.safetensors", {name.replace(theirs, written): tensor for name, tensor in sd15.items()}
    )
    model = load(path, Family.SD15)
    assert not any(
        p.is_meta for module in (model.vae, model.conditioner.towers[0].encoder) for p in module.parameters()
    ), part


def test_a_plain_file_predicts_noise(tmp_path, tiny_configs, sdxl):
    solver = _solver(single_files.write(tmp_path / "model.safetensors", sdxl))
    assert solver.config.prediction_type == "epsilon"
    assert not solver.config.rescale_betas_zero_snr


@pytest.mark.parametrize("metadata", [{}, {"modelspec.prediction_type": "v"}])
def test_a_file_that_says_so_predicts_velocity(tmp_path, tiny_configs, sdxl, metadata):
    marks = {} if metadata else {"v_pred": torch.tensor([])}
    solver = _solver(single_files.write(tmp_path / "model.safetensors", sdxl | marks, **metadata))
    assert solver.config.prediction_type == "v_prediction"
    assert not solver.config.rescale_betas_zero_snr


def test_a_file_trained_to_zero_signal_begins_in_pure_noise(tmp_path, tiny_configs, sdxl):
    marks = {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
    solver = _solver(single_files.write(tmp_path / "model.safetensors", sdxl | marks))
    assert solver.config.prediction_type == "v_prediction"
    assert solver.timesteps[0] == 999
    assert solver.sigmas[0] > 1000


def _solver(path: Path):
    return load(path, Family.SDXL).solvers.make("euler", "automatic", 5, torch.device("cpu"))


@pytest.mark.parametrize("family", Family)
def test_the_shipped_configs_honour_the_marks_too(family):
    """SD1.x's own config leaves the spacing to each solver's default, which must not win over the file's marks."""
    solver = _solvers(family, "v_pred", "ztsnr").make("euler", "automatic", 5, torch.device("cpu"))
    assert solver.config.prediction_type == "v_prediction"
    assert solver.timesteps[0] == 999
    assert solver.sigmas[0] > 1000


def _solvers(family: Family, *marks: str) -> Solvers:
    contents = single_file._Contents({}, frozenset(marks), {})
    return Solvers(single_file._scheduler_config(SHIPPED / family / "scheduler", contents))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("family", Family)
def test_every_sampler_comes_from_pure_noise_to_finite_latents(family, sampler):
    solver = _solvers(family, "v_pred", "ztsnr").make(sampler, "automatic", 6, torch.device("cpu"))
    noise = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 4, 8, 8, generator=noise) * solver.init_noise_sigma
    steps = denoise(solver, latents, solver.timesteps, noise, scene=Scene())
    asked = next(steps)
    with pytest.raises(StopIteration) as finished:
        while True:
            asked = steps.send(0.5 * asked.latents)
    assert torch.isfinite(finished.value.value).all()


@pytest.mark.parametrize("family", Family)
def test_the_shipped_configs_take_the_published_models_whole(family):
    """On the meta device: the real architectures, key by key, with the real numbers of parameters."""
    configs = SHIPPED / family
    parts = _real_parts(configs, family)
    assert {part: sum(p.numel() for p in module.parameters()) for part, module in parts.items()} == PARAMETERS[family]
    states = {part: module.state_dict() for part, module in parts.items()}
    tensors = single_files.original(states, json.loads((configs / "unet" / "config.json").read_text()), family)
    text = original_layout.SD15_TEXT if family is Family.SD15 else original_layout.SDXL_TEXT
    built = {
        "unet": original_layout.unet(tensors, configs / "unet"),
        "vae": original_layout.vae(tensors, configs / "vae"),
        "text_encoder": original_layout.clip(tensors, text, configs / "text_encoder"),
    }
    if family is Family.SDXL:
        second = original_layout.open_clip(tensors, original_layout.SDXL_TEXT_2, configs / "text_encoder_2")
        built["text_encoder_2"] = second
    for part, module in built.items():
        assert module.state_dict().keys() == states[part].keys()


def test_the_original_keys_are_the_published_ones():
    """A few keys at the corners of each layout, with the shapes that the published files give them."""
    shapes: dict[str, tuple[int, ...]] = {}
    for family in Family:
        configs = SHIPPED / family
        states = {part: module.state_dict() for part, module in _real_parts(configs, family).items()}
        config = json.loads((configs / "unet" / "config.json").read_text())
        shapes |= {
            f"{family}:{name}": tuple(t.shape) for name, t in single_files.original(states, config, family).items()
        }
    assert shapes["sd15:model.diffusion_model.output_blocks.11.0.skip_connection.weight"] == (320, 640, 1, 1)
    assert shapes["sd15:model.diffusion_model.input_blocks.11.0.out_layers.3.weight"] == (1280, 1280, 3, 3)
    assert shapes["sd15:model.diffusion_model.output_blocks.8.2.conv.weight"] == (640, 640, 3, 3)
    assert shapes["sd15:model.diffusion_model.output_blocks.2.1.conv.weight"] == (1280, 1280, 3, 3)
    assert shapes["sd15:first_stage_model.decoder.up.0.block.0.nin_shortcut.weight"] == (128, 256, 1, 1)
    assert shapes["sd15:first_stage_model.encoder.mid.attn_1.q.weight"] == (512, 512, 1, 1)
    assert shapes["sdxl:model.diffusion_model.input_blocks.8.1.transformer_blocks.9.attn2.to_k.weight"] == (1280, 2048)
    assert shapes["sdxl:model.diffusion_model.label_emb.0.0.weight"] == (1280, 2816)
    assert shapes["sdxl:conditioner.embedders.1.model.transformer.resblocks.31.attn.in_proj_weight"] == (3840, 1280)
    assert shapes["sdxl:conditioner.embedders.1.model.positional_embedding"] == (77, 1280)


def _real_parts(configs: Path, family: Family) -> dict[str, torch.nn.Module]:
    def config(part: str) -> dict:
        return json.loads((configs / part / "config.json").read_text())

    with init_empty_weights():
        parts = {
            "unet": UNet2DConditionModel.from_config(config("unet")),
            "vae": AutoencoderKL.from_config(config("vae")),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**config("text_encoder"))),
        }
        if family is Family.SDXL:
            parts["text_encoder_2"] = CLIPTextModelWithProjection(CLIPTextConfig(**config("text_encoder_2")))
    return parts


@pytest.mark.parametrize(
    "missing",
    [
        f"{UNET}out.2.weight",
        f"{UNET}middle_block.1.proj_in.weight",
        "first_stage_model.decoder.conv_out.bias",
        "first_stage_model.encoder.mid.attn_1.q.weight",
        f"{TEXT}final_layer_norm.weight",
    ],
)
def test_a_missing_weight_is_refused_by_the_name_of_its_part(tmp_path, tiny_configs, sd15, missing):
    path = single_files.write(tmp_path / "model.safetensors", {n: t for n, t in sd15.items() if n != missing})
    assert "incomplete" in refusal(path)


@pytest.mark.parametrize("missing", [f"{UNET}label_emb.0.0.weight", "conditioner.embedders.1.model.text_projection"])
def test_a_missing_weight_of_sdxl_is_refused(tmp_path, tiny_configs, sdxl, missing):
    path = single_files.write(tmp_path / "model.safetensors", {n: t for n, t in sdxl.items() if n != missing})
    assert "incomplete" in refusal(path, Family.SDXL)


@pytest.mark.parametrize(
    "surplus",
    [
        f"{UNET}input_blocks.1.2.temporal.weight",  # the converter passes this over in silence
        f"{UNET}input_blocks.1.1.extra.weight",
        f"{TEXT}encoder.layers.9.mlp.fc1.weight",
    ],
)
def test_a_weight_that_has_no_place_is_refused(tmp_path, tiny_configs, sd15, surplus):
    path = single_files.write(tmp_path / "model.safetensors", {**sd15, surplus: torch.zeros(4)})
    assert "no place for" in refusal(path)


def test_a_smaller_relative_of_the_family_is_refused(tmp_path, sd15):
    """A tiny model read with the real configs: distilled models are to SDXL what this is to SD1.5."""
    assert "its UNet is incomplete" in refusal(single_files.write(tmp_path / "model.safetensors", sd15))


def test_a_wider_cross_attention_is_refused_with_both_shapes(tmp_path, tiny_configs, sd15):
    key = next(name for name in sd15 if name.endswith("attn2.to_k.weight"))
    path = single_files.write(tmp_path / "model.safetensors", {**sd15, key: torch.zeros(sd15[key].shape[0], 1024)})
    assert "x1024, not" in refusal(path)


def test_stable_diffusion_2_is_refused(tmp_path, sd15):
    tensors = {name.replace(TEXT, "cond_stage_model.model."): tensor for name, tensor in sd15.items()}
    assert "Stable Diffusion 2" in refusal(single_files.write(tmp_path / "model.safetensors", tensors))


def test_an_inpainting_model_takes_mask_and_masked_picture_too(tmp_path, tiny_configs, sd15):
    nine = {f"{UNET}input_blocks.0.0.weight": torch.ones(32, 9, 3, 3)}
    model = load(single_files.write(tmp_path / "model.safetensors", sd15 | nine), Family.SD15)
    assert model.inpaints
    assert model.unet.conv_in.weight.shape == (32, 9, 3, 3)


def test_an_editing_model_is_refused(tmp_path, sd15):
    eight = {f"{UNET}input_blocks.0.0.weight": torch.zeros(32, 8, 3, 3)}
    assert "editing" in refusal(single_files.write(tmp_path / "model.safetensors", sd15 | eight))


def test_a_model_of_the_edm_kind_is_refused(tmp_path, tiny_configs, sdxl):
    path = single_files.write(tmp_path / "model.safetensors", sdxl | {"edm_mean": torch.zeros(4)})
    assert "EDM" in refusal(path, Family.SDXL)


def test_a_file_without_a_vae_is_refused(tmp_path, sd15):
    tensors = {name: tensor for name, tensor in sd15.items() if not name.startswith("first_stage_model.")}
    assert "holds no VAE" in refusal(single_files.write(tmp_path / "model.safetensors", tensors))


def test_a_file_of_the_other_family_is_refused(tmp_path, tiny_configs, sdxl):
    assert "family" in refusal(single_files.write(tmp_path / "model.safetensors", sdxl), Family.SD15)


def test_a_truncated_file_is_refused(tmp_path, sd15):
    path = single_files.write(tmp_path / "model.safetensors", sd15)
    path.write_bytes(path.read_bytes()[:-1000])
    assert "cut off" in refusal(path)


def test_a_renamed_pickle_is_refused_and_never_run(tmp_path):
    path, ran = tmp_path / "model.safetensors", tmp_path / "ran"
    torch.save(_Trap(ran), path)
    assert "not a safetensors file" in refusal(path)
    assert not ran.exists()


class _Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "prefix",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2**26) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"\xff\xfe{}",
        struct.pack("<Q", 40_000) + b"[" * 40_000,
        b"",
    ],
)
def test_a_hostile_header_is_refused(tmp_path, prefix):
    path = tmp_path / "model.safetensors"
    path.write_bytes(prefix)
    assert "is not a safetensors file" in refusal(path) or "is cut off" in refusal(path)


def test_offsets_that_overlap_are_refused(tmp_path, tiny_configs, sd15):
    path = single_files.write(tmp_path / "model.safetensors", sd15)
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header[f"{UNET}out.2.weight"]["data_offsets"] = header[f"{UNET}out.0.weight"]["data_offsets"]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    assert "damaged" in refusal(path)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("A  Photo of\na CAT", [320, 1125, 539, 320, 2368]),
        ("", []),
    ],
)
def test_clips_vocabulary_gives_known_words_their_known_numbers(text, ids):
    tokenizer = clip_vocabulary.tokenizer("<|endoftext|>")
    assert tokenizer(text).input_ids == [49406, *ids, 49407]


def test_clips_vocabulary_is_whole_and_any_text_has_tokens():
    tokenizer = clip_vocabulary.tokenizer("!")
    vocabulary = tokenizer.get_vocab()
    assert sorted(vocabulary.values()) == list(range(49408))
    assert (tokenizer.pad_token_id, tokenizer.model_max_length) == (0, 77)
    ids = tokenizer("红色的房子 🐱", add_special_tokens=False).input_ids
    assert ids
    assert 49407 not in ids
    assert tokenizer.decode(ids) == "红色的房子 🐱"


def test_the_shipped_tokenizers_pad_as_the_published_ones():
    towers = [SHIPPED / Family.SDXL / name for name in ("tokenizer", "tokenizer_2")]
    assert [single_file._tokenizer(folder).pad_token_id for folder in towers] == [49407, 0]
