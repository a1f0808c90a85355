"""LoRA files that cannot be used: each is refused in one sentence, and nothing of it is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffuserve.core.errors import GenerationFailed
from diffuserve.core.model import Family
from support import lora_bench, lora_files
from support.lora_bench import Bench, empty, info

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def benches(folders: dict[Family, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[Family, Bench]:
    return {
        family: lora_bench.make(family, folder, tmp_path_factory.mktemp(family)) for family, folder in folders.items()
    }


Q = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
K = "lora_unet_" + Q.replace(".", "_")

WRONG = {
    "it is a LoHa": {f"{K}.hada_w1_a": (4, 4)},
    "it is a LoKr": {f"{K}.lokr_w1": (4, 4)},
    "it is a DoRA": {f"{K}.lora_down.weight": (4, 64), f"{K}.lora_up.weight": (64, 4), f"{K}.dora_scale": (64, 1)},
    "it is an OFT": {f"{K}.oft_blocks": (4, 4, 4)},
    "made of whole weights": {f"{K}.diff": (64, 64)},
    "a LoRA with biases": {f"unet.{Q}.lora_B.bias": (64,)},
    "is none that LoRAs have": {f"unet.{Q}.weight": (64, 64)},
    "has no up tensor": {f"{K}.lora_down.weight": (4, 64)},
    "has no down tensor": {f"{K}.alpha": ()},
    "are 4x32 and 64x4, where this model needs 4x64 and 64x4": {
        f"{K}.lora_down.weight": (4, 32),
        f"{K}.lora_up.weight": (64, 4),
    },
    "are 4x64 and 64x3, where": {f"{K}.lora_down.weight": (4, 64), f"{K}.lora_up.weight": (64, 3)},
    "1 of the 1 places that it changes are not in this model": {
        f"{K}0.lora_down.weight": (4, 64),
        f"{K}0.lora_up.weight": (64, 4),
    },
    "twice": {
        f"{K}.lora_down.weight": (4, 64),
        f"{K}.lora_up.weight": (64, 4),
        f"unet.{Q}.lora_A.weight": (4, 64),
        f"unet.{Q}.lora_B.weight": (64, 4),
    },
    f"changes unet.{Q} twice": {f"unet.{Q}.lora_A.weight": (4, 64), f"unet.{Q}.lora_A.style.weight": (4, 64)},
    "the alpha of": {f"{K}.lora_down.weight": (4, 64), f"{K}.lora_up.weight": (64, 4), f"{K}.alpha": (2,)},
    "no matrix of real numbers": {f"{K}.lora_down.weight": (4, 64), f"{K}.lora_up.weight": (64,)},
    "does not match its down tensor": {
        f"{K}.lora_down.weight": (4, 64),
        f"{K}.lora_up.weight": (64, 4),
        f"{K}.lora_mid.weight": (3, 3, 1, 1),
    },
    "its file is empty": {},
}


@pytest.mark.parametrize("reason", WRONG)
def test_what_cannot_be_used_is_refused_in_one_sentence(benches, reason, tmp_path):
    tensors = {name: torch.ones(shape) for name, shape in WRONG[reason].items()}
    assert reason in refusal(benches[Family.SD15], lora_files.write(tmp_path / "wrong.safetensors", tensors))


def test_a_lora_of_sdxl_is_refused_by_a_model_of_sd15_whatever_its_entry_says(benches, tmp_path):
    changes = lora_files.random_lora(benches[Family.SDXL].model, 1)
    path = lora_files.write(tmp_path / "sdxl.safetensors", lora_files.kohya(changes))
    assert "are not in this model, lora_te2_" in refusal(benches[Family.SD15], path)
    with pytest.raises(GenerationFailed, match="it is made for sdxl models, and this one is sd15"):
        benches[Family.SD15].loras.read(info(Family.SDXL, path))


def test_a_damaged_file_is_refused_without_telling_where_it_lies(benches, tmp_path):
    bench = benches[Family.SD15]
    path = lora_files.write(tmp_path / "cut.safetensors", lora_files.kohya(lora_files.random_lora(bench.model, 1)))
    path.write_bytes(path.read_bytes()[:-100])
    assert "its file is cut off" in refusal(bench, path)
    assert "its file cannot be read" in refusal(bench, tmp_path / "nothing.safetensors")
    path.write_bytes(b"PK\x03\x04 a pickle, perhaps")
    assert "its file is not a safetensors file" in refusal(bench, path)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_none_never_reach_a_batch(benches, number, tmp_path):
    tensors = {f"{K}.lora_down.weight": torch.full((4, 64), number), f"{K}.lora_up.weight": torch.ones(64, 4)}
    path = lora_files.write(tmp_path / "nan.safetensors", tensors)
    assert "hold numbers that float32 cannot" in refusal(benches[Family.SD15], path)


@pytest.mark.parametrize("config", ["{", "[]", '{"unet.lora_alpha": "big"}', '{"unet.alpha_pattern": {"(": 1}}'])
def test_a_header_that_cannot_be_read_is_refused(benches, config, tmp_path):
    tensors = {f"unet.{Q}.lora_A.weight": torch.ones(4, 64), f"unet.{Q}.lora_B.weight": torch.ones(64, 4)}
    path = lora_files.write(tmp_path / "header.safetensors", tensors, lora_adapter_metadata=config)
    assert "in its header cannot be read" in refusal(benches[Family.SD15], path)


def refusal(bench: Bench, path: Path) -> str:
    """The sentence with which the file is refused; nothing of it is kept."""
    loras = empty(bench.family, bench.model)
    with pytest.raises(GenerationFailed) as refused:
        loras.read(info(bench.family, path))
    message = refused.value.message
    assert message.startswith("LoRA lora cannot be used: ")
    assert "\n" not in message
    assert str(path.parent) not in message
    assert loras.nbytes == 0
    return message
