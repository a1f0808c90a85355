"""The prompt writer's models: Marian for translation, any causal language model for enhancement; on the processor.

Decoding is greedy, so the same text is answered the same way every time. Only safetensors are read, and no code of a
model folder is ever run.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, MarianMTModel, PreTrainedTokenizerFast
from transformers.utils import logging

from diffuserve.core.errors import ConfigurationError, GenerationFailed
from diffuserve.engine.diffusion.device import has_bfloat16_units
from diffuserve.engine.diffusion.sentencepieces import MarianVocabulary

MAX_TRANSLATION = 256
"""Tokens of one sentence's translation."""
MAX_ENHANCEMENT = 120
"""Tokens that are written to enhance a prompt; CLIP reads 75 at a time."""
_SENTENCE_ENDS = re.compile(r"(?<=[。！？；!?;\n])")
# Greedy decoding of small models falls into loops: translations repeat no three tokens, and whoever goes on from a text pays
# for what it repeats (N. S. Keskar et al., arXiv:1909.05858).
_NEVER_TWICE = 3
_REPETITION_PENALTY = 1.2


class LanguageModels:
    """Both models, each loaded when it is first needed."""

    def __init__(self, translation: str | None, enhancement: str | None, instructions: str, threads: int) -> None:
        """Folders; `instructions` for an enhancement model that takes some."""
        torch.set_num_threads(threads)
        logging.disable_progress_bar()
        self._folders = {"translate": translation, "enhance": enhancement}
        self._instructions = instructions

    def answer(self, task: str, text: str) -> str:
        """`task` is `translate` or `enhance`. Raises ConfigurationError for a model that cannot be loaded, GenerationFailed."""
        with torch.inference_mode():
            return self._model(task)(text)

    @functools.cache  # noqa: B019 - one object, as long as its process
    def _model(self, task: str) -> Callable[[str], str]:
        folder = self._folders.get(task)
        if folder is None:
            raise ConfigurationError(f"there is no local model to {task} with")
        try:
            if task == "translate":
                return Translation(Path(folder))
            return Enhancement(Path(folder), self._instructions)
        except (OSError, ValueError, ImportError) as error:
            raise ConfigurationError(f"{folder} cannot be loaded: {str(error).strip().partition(chr(10))[0]}") from None


class Translation:
    """A Marian model (M. Junczys-Dowmunt et al., arXiv:1804.00344), such as those of OPUS-MT."""

    def __init__(self, folder: Path) -> None:
        _check_type(folder, "marian")
        # Where a fast tokenizer lies beside the model, it is preferred: it may hold what its maker mended.
        fast = folder / "tokenizer.json"
        if fast.is_file():
            tokenizer: Any = PreTrainedTokenizerFast(tokenizer_file=str(fast))
            self._encode: Callable[[str], list[int]] = tokenizer.encode
            self._decode: Callable[[list[int]], str] = functools.partial(tokenizer.decode, skip_special_tokens=True)
        else:
            vocabulary = MarianVocabulary(folder)
            self._encode, self._decode = vocabulary.encode, vocabulary.decode
        self._model = MarianMTModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        ).eval()

    def __call__(self, text: str) -> str:
        sentences = (sentence.strip() for sentence in _SENTENCE_ENDS.split(text))
        return " ".join(self._sentence(sentence) for sentence in sentences if sentence)

    def _sentence(self, sentence: str) -> str:
        ids = self._encode(sentence)
        if len(ids) > self._model.config.max_position_embeddings:
            raise GenerationFailed("a sentence is too long for the translation model")
        longest = min(MAX_TRANSLATION, self._model.config.max_position_embeddings - 1)
        written = _generate(
            self._model, ids, max_new_tokens=min(longest, 2 * len(ids) + 16), no_repeat_ngram_size=_NEVER_TWICE
        )
        return self._decode(written)


class Enhancement:
    """A causal language model. One with a chat template is instructed; any other goes on where the prompt ends."""

    def __init__(self, folder: Path, instructions: str) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self._model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=_dtype(folder)
        ).eval()
        self._instructions = instructions

    def __call__(self, text: str) -> str:
        if self._tokenizer.chat_template:
            return self._told(text)
        written = self._written(self._tokenizer.encode(text), repetition_penalty=_REPETITION_PENALTY)
        more = written.partition("\n")[0].rstrip()
        if more[:1] in ("", " ", ",", "."):
            return text.rstrip() + more
        return f"{text.rstrip(' ,')}, {more}"

    def _told(self, text: str) -> str:
        messages = [{"role": "system", "content": self._instructions}, {"role": "user", "content": text}]
        prompt = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return self._written(self._tokenizer.encode(prompt, add_special_tokens=False))

    def _written(self, ids: list[int], **options: Any) -> str:
        most = getattr(self._model.config, "max_position_embeddings", None)
        if most is not None and len(ids) + MAX_ENHANCEMENT > most:
            raise GenerationFailed("the prompt is too long for the enhancement model")
        written = _generate(self._model, ids, max_new_tokens=MAX_ENHANCEMENT, **options)
        return self._tokenizer.decode(written[len(ids) :], skip_special_tokens=True)


def _generate(model: Any, ids: list[int], **options: Any) -> list[int]:
    """Ids that the model writes, greedily; a causal model's begin with `ids`."""
    asked = torch.tensor([ids])
    padding = model.generation_config.pad_token_id
    if padding is None:  # one row needs no padding, and `generate` would say what it takes instead at every call
        options["pad_token_id"] = 0
    written = model.generate(
        input_ids=asked, attention_mask=torch.ones_like(asked), do_sample=False, num_beams=1, **options
    )
    return written[0].tolist()


def _dtype(folder: Path) -> torch.dtype:
    """bfloat16 where the weights are and the processor has units for it, else float32."""
    config = json.loads((folder / "config.json").read_bytes())
    stored = config.get("dtype", config.get("torch_dtype"))
    return torch.bfloat16 if stored == "bfloat16" and has_bfloat16_units() else torch.float32


def _check_type(folder: Path, wanted: str) -> None:
    found = json.loads((folder / "config.json").read_bytes()).get("model_type")
    if found != wanted:
        raise ConfigurationError(f"{folder} holds a model of type {found}, not {wanted}")
