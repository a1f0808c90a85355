"""Prompt help by small models of our own, through the real process."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing

from diffuserve.config import Settings
from diffuserve.core.errors import ConfigurationError, GenerationFailed, ServerFailure
from diffuserve.core.principal import ANONYMOUS
from diffuserve.core.request import GenerationRequest
from diffuserve.engine.diffusion.language_models import LanguageModels
from diffuserve.engine.writer import Writer, WriterConfig
from diffuserve.wiring import prompt_help
from support.app import model, serving
from support.clock import FakeClock
from support.tiny_writers import PHRASES, save_marian, save_writer

pytestmark = pytest.mark.integration

ENGLISH = model("tiny")
TEMPLATE = "{% for message in messages %}{{ message.content }} {% endfor %}"


@pytest.fixture(scope="module")
def marian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_marian(tmp_path_factory.mktemp("translation") / "zh-en")


@pytest.fixture(scope="module")
def continuing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_writer(tmp_path_factory.mktemp("enhancement") / "continuing")


@pytest.fixture
async def writer(marian: Path, continuing: Path) -> AsyncIterator[Writer]:
    config = WriterConfig(str(marian), str(continuing), "soft light", threads=1)
    config.check()
    made = Writer(config, FakeClock())
    yield made
    await made.close()


async def test_both_models_answer_from_one_process_and_a_new_one_answers_the_same(writer: Writer) -> None:
    assert {phrase: await writer.translate(phrase) for phrase in PHRASES} == PHRASES
    enhanced = await writer.enhance("a red cat")
    first = writer.pid
    assert first is not None
    assert enhanced.startswith("a red cat, ") and len(enhanced.split()) > 20
    os.kill(first, signal.SIGKILL)
    assert await writer.enhance("a red cat") == enhanced
    assert await writer.translate("红苹果") == "a red apple"
    assert writer.pid not in (None, first)


def test_a_model_with_a_chat_template_is_told_what_to_do(tmp_path: Path) -> None:
    """Its answer then depends on the instructions, and does not repeat the prompt."""
    folder = str(save_writer(tmp_path / "told", chat_template=TEMPLATE))
    answers = [
        LanguageModels(None, folder, told, torch.get_num_threads()).answer("enhance", "a red cat")
        for told in ("soft light", "a golden forest", "soft light")
    ]
    assert answers[0] == answers[2] != answers[1]
    assert not answers[0].startswith("a red cat")


async def test_a_folder_with_pickled_weights_only_is_not_read(marian: Path, tmp_path: Path) -> None:
    for name in ("config.json", "vocab.json", "source.spm"):
        (tmp_path / name).write_bytes((marian / name).read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    writer = Writer(WriterConfig(str(tmp_path), threads=1), FakeClock())
    with pytest.raises(ServerFailure, match="cannot be loaded"):
        await writer.translate("红苹果")
    await writer.close()


def test_a_model_of_another_kind_is_refused_by_its_name(continuing: Path) -> None:
    models = LanguageModels(str(continuing), None, "", torch.get_num_threads())
    with pytest.raises(ConfigurationError, match="of type gpt2, not marian"):
        models.answer("translate", "红苹果")
    with pytest.raises(ConfigurationError, match="no local model to enhance with"):
        models.answer("enhance", "a cat")


def test_a_text_that_is_too_long_for_its_model_is_refused(marian: Path, continuing: Path) -> None:
    models = LanguageModels(str(marian), str(continuing), "", torch.get_num_threads())
    with pytest.raises(GenerationFailed, match="too long for the enhancement model"):
        models.answer("enhance", "cat " * 200)
    with pytest.raises(GenerationFailed, match="too long for the translation model"):
        models.answer("translate", "红" * 4000 + "绿")


def test_sentences_are_translated_one_by_one(marian: Path) -> None:
    models = LanguageModels(str(marian), None, "", torch.get_num_threads())
    assert models.answer("translate", "红苹果\n蓝色的猫\n\n白色背景") == "a red apple a blue cat white background"


def test_a_fast_tokenizer_beside_the_model_is_preferred(marian: Path, tmp_path: Path) -> None:
    """One that adds the end itself, as converted folders have it; the other files may then be missing."""
    folder = tmp_path / "fast"
    shutil.copytree(marian, folder)
    ids = json.loads((folder / "vocab.json").read_bytes())
    fast = Tokenizer(WordLevel({**ids, "红苹果": ids["\u2581红苹果"]}, unk_token="<unk>"))
    fast.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", ids["</s>"])])
    fast.add_special_tokens(["</s>", "<pad>"])
    fast.decoder = decoders.Metaspace()
    fast.save(str(folder / "tokenizer.json"))
    (folder / "source.spm").unlink()
    models = LanguageModels(str(folder), None, "", torch.get_num_threads())
    assert models.answer("translate", "红苹果") == "a red apple"


async def test_a_job_with_a_chinese_prompt_is_drawn_from_its_translation(
    marian: Path, continuing: Path, tmp_path: Path
) -> None:
    settings = Settings(
        translation="local",
        translation_model=marian,
        enhancement="local",
        enhancement_model=continuing,
        prompt_seconds=120,
    )
    prompts = prompt_help(settings)
    request = GenerationRequest(
        "(红苹果:1.2)，白色背景 <lora:墨:0.5>", negative_prompt="蓝色的猫", seeds=(7,), enhance_prompt=True
    )
    try:
        async with serving(tmp_path, models=(ENGLISH,), prompts=prompts) as server:
            jobs = [await server.jobs.submit(ANONYMOUS, "native", request) for _ in range(2)]
            job = await server.jobs.wait(jobs[0].id, 60)
    finally:
        await prompts.close()
    drawn = job.request
    assert drawn.prompt.startswith("(a red apple:1.2), white background, ")
    assert (drawn.negative_prompt, drawn.asked_prompt) == ("a blue cat", request.prompt)
    assert drawn == jobs[1].request
    assert job.artifacts
    assert job.notes[:2] == (
        "the prompt was translated from Chinese",
        "the negative prompt was translated from Chinese",
    )
