"""Rows with LoRAs of their own in one batch, and prompts read with them: against weights that were added to by hand."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffuserve.core.errors import GenerationFailed
from diffuserve.core.model import Family
from diffuserve.core.request import Lora
from support import lora_bench, lora_files
from support.lora_bench import (
    CLOSE,
    Bench,
    assert_merged,
    difference,
    draw,
    empty,
    encode,
    filled,
    forward,
    info,
    tokens,
)
from support.lora_files import Changes

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def benches(folders: dict[Family, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[Family, Bench]:
    return {
        family: lora_bench.make(family, folder, tmp_path_factory.mktemp(family)) for family, folder in folders.items()
    }


@pytest.fixture(params=Family)
def bench(benches: dict[Family, Bench], request: pytest.FixtureRequest) -> Bench:
    return benches[request.param]


def test_rows_with_different_mixes_in_one_batch_are_each_what_they_are_alone(bench):
    mixes = [
        (Lora("a", 0.5), Lora("b", 0.7)),
        (),
        (Lora("b", -1.0),),
        (Lora("a", 0.5), Lora("c", 1.0)),
        (Lora("b", 0.7), Lora("a", 0.5)),
    ]
    together = draw(bench, mixes)
    for row, mix in enumerate(mixes):
        assert difference(together[row], draw(bench, [mix], [row])[0]) < CLOSE
    assert len({round(float(row.sum()), 3) for row in together[:4]}) == 4


@settings(max_examples=15, deadline=None)
@given(
    mixes=st.lists(
        st.dictionaries(st.sampled_from("abc"), st.floats(-2, 2, width=16), max_size=3), min_size=1, max_size=4
    )
)
def test_any_mixes_in_one_batch_are_the_weights_that_they_come_to(benches, mixes):
    bench = benches[Family.SD15]
    drawn = draw(bench, [tuple(Lora(name, weight) for name, weight in mix.items()) for mix in mixes])
    for row, mix in enumerate(mixes):
        merged = {"unet": copy.deepcopy(bench.model["unet"])}
        for name, weight in mix.items():
            lora_files.merge(merged, of_unet(bench.changes[name]), weight)
        assert difference(drawn[row], forward(merged["unet"], bench.family, [row])[0]) < 10 * CLOSE


def test_a_row_without_lora_is_bit_for_bit_that_of_the_bare_model(bench):
    bare = forward(bench.model["unet"], bench.family, range(3))
    drawn = draw(bench, [(Lora("a", 1.0),), (), (Lora("a", 1.0), Lora("b", 0.0))])
    assert torch.equal(drawn[1], bare[1])
    assert difference(drawn[0], bare[0]) > 0.01


def test_weight_0_is_as_if_the_lora_were_not_there(bench):
    assert torch.equal(draw(bench, [(Lora("a", 0.0),)]), forward(bench.model["unet"], bench.family, [0]))


def test_the_model_is_bit_for_bit_what_it_was_afterwards(bench):
    before = forward(bench.model["unet"], bench.family, range(2)), encode(bench.model)
    with pytest.raises(KeyboardInterrupt), bench.loras.unet_rows([(Lora("a"),)] * 2), bench.loras.text((Lora("a"),)):
        assert difference(forward(bench.model["unet"], bench.family, range(2)), before[0]) > 0.01
        raise KeyboardInterrupt
    assert torch.equal(forward(bench.model["unet"], bench.family, range(2)), before[0])
    assert all(map(torch.equal, encode(bench.model), before[1]))


def test_text_encoders_read_prompts_with_the_mix(bench):
    mix = (Lora("a", 0.5), Lora("b", 0.7))
    merged = copy.deepcopy({part: module for part, module in bench.model.items() if part != "unet"})
    for lora in mix:
        changes = {place: change for place, change in bench.changes[lora.name].items() if place[0] != "unet"}
        lora_files.merge(merged, changes, lora.weight)
    with bench.loras.text(mix):
        encoded = encode(bench.model)
    assert all(difference(*pair) < CLOSE for pair in zip(encoded, encode(merged), strict=True))
    assert all(difference(*pair) > 0.01 for pair in zip(encoded, encode(bench.model), strict=True))


def test_several_windows_of_one_prompt_take_the_same_mix(bench):
    encoder = bench.model["text_encoder"]
    ids = torch.stack([tokens(), tokens().flip(0)])
    with bench.loras.text((Lora("a"),)), torch.no_grad():
        both = encoder(ids).last_hidden_state
        each = [encoder(window[None]).last_hidden_state for window in ids]
    assert difference(both, torch.cat(each)) < CLOSE


def test_only_loras_that_change_a_text_encoder_count_for_the_encoding_of_prompts(bench, tmp_path):
    loras = empty(bench.family, bench.model)
    changes = lora_files.random_lora({"unet": bench.model["unet"]}, 1)
    loras.read(info(bench.family, lora_files.write(tmp_path / "u.safetensors", lora_files.peft(changes)), "unet only"))
    both = lora_files.random_lora(bench.model, 1)
    loras.read(info(bench.family, lora_files.write(tmp_path / "t.safetensors", lora_files.peft(both)), "both"))
    assert loras.in_text((Lora("unet only"), Lora("both", 0.5))) == (Lora("both", 0.5),)
    before = encode(bench.model)
    with loras.text((Lora("unet only"),)):
        assert all(map(torch.equal, encode(bench.model), before))


def test_exact_rows_are_equal_bit_for_bit_in_any_company_and_place(bench):
    loras = filled(empty(bench.family, bench.model, exact=True), bench.infos)
    mine = (Lora("a", 0.5), Lora("b", 0.7))
    companies = [
        [mine, (), (), ()],
        [mine, mine, (Lora("a", 0.5),), (Lora("b", 0.7),)],
        [mine, (Lora("c"),), mine, (Lora("a", 2.0), Lora("c"))],
    ]
    drawn = [draw(bench, mixes, loras=loras)[0] for mixes in companies]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


def test_a_unet_that_was_compiled_before_draws_with_loras_too(bench):
    compiled = torch.compile(bench.model["unet"], backend="eager", dynamic=False)
    forward(compiled, bench.family, [0])
    loras = filled(empty(bench.family, {**bench.model, "unet": compiled}), bench.infos)
    plain = draw(bench, [(Lora("a"),)])
    assert difference(draw(bench, [(Lora("a"),)], loras=loras, unet=compiled), plain) < CLOSE
    assert difference(forward(compiled, bench.family, [0]), plain) > 0.01


def test_a_row_may_be_several_for_the_modules_such_as_the_frames_of_a_video(bench):
    layer = bench.model["unet"].mid_block.attentions[0].transformer_blocks[0].attn1.to_q
    frames = torch.randn(6, 5, layer.in_features)
    with bench.loras.unet_rows([(Lora("a"),), ()]), torch.no_grad():
        drawn = layer(frames)
    with bench.loras.unet_rows([(Lora("a"),)] * 3), torch.no_grad():
        alone = layer(frames[:3])
    assert difference(drawn[:3], alone) < CLOSE
    assert torch.equal(drawn[3:], layer(frames)[3:])


def test_a_forward_of_another_number_of_rows_is_a_fault(bench):
    with (
        pytest.raises(ValueError, match="3 rows was announced with 2 mixes"),
        bench.loras.unet_rows([(Lora("a"),)] * 2),
    ):
        forward(bench.model["unet"], bench.family, range(3))


def test_what_was_not_read_is_refused_and_what_is_forgotten_takes_no_memory(bench, tmp_path):
    loras = empty(bench.family, bench.model)
    assert loras.nbytes == 0
    changes = lora_files.random_lora(bench.model, 1)
    path = lora_files.write(tmp_path / "l.safetensors", lora_files.peft(changes))
    loras.read(info(bench.family, path))
    assert loras.nbytes == sum(change.down.nbytes + change.up.nbytes for change in changes.values())
    loras.forget("lora")
    assert loras.nbytes == 0
    with pytest.raises(GenerationFailed, match="LoRA lora is not loaded"), loras.unet_rows([(Lora("lora"),)]):
        pass
    loras.read(info(bench.family, path))
    loras.clear()
    assert loras.nbytes == 0


def test_a_lora_is_read_once_and_does_not_need_its_file_afterwards(bench, tmp_path):
    loras = empty(bench.family, bench.model)
    path = lora_files.write(tmp_path / "l.safetensors", lora_files.peft(lora_files.random_lora(bench.model, 1)))
    loras.read(info(bench.family, path))
    before = draw(bench, [(Lora("lora"),)], loras=loras)
    path.write_bytes(bytes(path.stat().st_size))
    loras.read(info(bench.family, path))
    assert torch.equal(draw(bench, [(Lora("lora"),)], loras=loras), before)


def test_reading_does_not_depend_on_the_dtype_that_another_thread_has_set(bench, tmp_path):
    loras = empty(bench.family, bench.model)
    changes = lora_files.random_lora(bench.model, 1)
    path = lora_files.write(tmp_path / "l.safetensors", lora_files.kohya(changes), torch.float16)
    torch.set_default_dtype(torch.bfloat16)
    try:
        loras.read(info(bench.family, path))
        with loras.unet_rows([(Lora("lora"),)]):
            pass
    finally:
        torch.set_default_dtype(torch.float32)
    rounded = {
        place: lora_files.Change(c.down.half().float(), c.up.half().float(), c.alpha) for place, c in changes.items()
    }
    assert_merged(bench, loras, rounded, "lora")


def of_unet(changes: Changes) -> Changes:
    return {place: change for place, change in changes.items() if place[0] == "unet"}
