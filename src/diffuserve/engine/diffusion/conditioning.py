"""Prompts to embeddings: emphasis, any length, clip skip, both families; cached.

A prompt is cut into chunks of the encoder's window; each chunk is encoded alone and the results are laid end to end, as
AUTOMATIC1111 does it. A plain prompt that fits one window gives exactly what diffusers' `encode_prompt` gives.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from diffuserve.core.model import Family
from diffuserve.core.request import Lora
from diffuserve.engine.diffusion.loras import Loras
from diffuserve.engine.diffusion.weighting import parse


@dataclass(frozen=True, slots=True)
class Encoded:
    """`hidden` is (1, chunks * window, channels); `pooled` (1, channels) for SDXL. In the model's dtype, on its device."""

    hidden: torch.Tensor
    pooled: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """One window of tokens without its begin and end tokens, and a weight for each."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TextTower:
    """One tokenizer and the encoder that reads its tokens."""

    tokenizer: Any
    encoder: Any

    @property
    def window(self) -> int:
        """Tokens that one pass of the encoder sees, begin and end tokens included (77 for CLIP)."""
        return min(self.tokenizer.model_max_length, self.encoder.config.max_position_embeddings)


class Conditioner:
    """Encodes prompts for one model, remembering the last `cache` results."""

    def __init__(
        self,
        towers: Sequence[TextTower],
        family: Family,
        loras: Loras,
        *,
        zero_empty_negative: bool = False,
        cache: int = 256,
    ) -> None:
        """`zero_empty_negative`: an empty negative prompt is zeros instead of the encoding of "" (SDXL base says so)."""
        self.towers = tuple(towers)
        self._family = family
        self._loras = loras
        self._zero_empty_negative = zero_empty_negative
        self._encode = functools.lru_cache(maxsize=cache)(self._encode_uncached)

    def encode(
        self, prompt: str, negative_prompt: str, clip_skip: int, loras: tuple[Lora, ...] = ()
    ) -> tuple[Encoded, Encoded]:
        """The prompt and the negative prompt, both padded (with empty chunks) to the longer one's number of chunks.

        `clip_skip` counts layers as diffusers does: 0 is the encoder's usual output. `loras` have been read already.
        """
        count = max(self.chunks(prompt), self.chunks(negative_prompt))
        mix = self._loras.in_text(loras)  # the others leave the encoding, and its place in the cache, as they are
        positive = self._encode(prompt, clip_skip, count, mix)
        negative = self._encode(negative_prompt, clip_skip, count, mix)
        if not negative_prompt.strip() and self._zero_empty_negative:
            pooled = None if negative.pooled is None else torch.zeros_like(negative.pooled)
            negative = Encoded(torch.zeros_like(negative.hidden), pooled)
        return positive, negative

    @property
    def hits(self) -> int:
        """Prompts that were found in the cache."""
        return self._encode.cache_info().hits

    @property
    def encodings(self) -> int:
        """Prompts that were asked for, found or not."""
        return self.hits + self._encode.cache_info().misses

    def chunks(self, prompt: str) -> int:
        """How many windows the prompt fills, at least 1."""
        return max(len(split(tower, prompt)) for tower in self.towers)

    def _encode_uncached(self, prompt: str, clip_skip: int, count: int, loras: tuple[Lora, ...]) -> Encoded:
        hidden, pooled = [], None
        with self._loras.text(loras):
            for tower in self.towers:
                chunks = split(tower, prompt)
                chunks += [Chunk((), ())] * (count - len(chunks))
                outputs = [_encode_chunk(self._family, tower, chunk, clip_skip) for chunk in chunks]
                hidden.append(torch.cat([output.hidden for output in outputs], dim=1))
                pooled = outputs[0].pooled  # the last tower's first chunk: SDXL takes its second encoder's
        return Encoded(torch.cat(hidden, dim=-1), pooled)


def split(tower: TextTower, prompt: str) -> list[Chunk]:
    """The prompt's tokens and weights in windows; `BREAK` ends a window early."""
    room = tower.window - 2
    chunks: list[Chunk] = []
    for section in parse(prompt):
        ids: list[int] = []
        weights: list[float] = []
        for fragment in section:
            tokens = tower.tokenizer(fragment.text, add_special_tokens=False, truncation=False).input_ids
            ids += tokens
            weights += [fragment.weight] * len(tokens)
        starts = range(0, len(ids), room)
        chunks += [Chunk(tuple(ids[i : i + room]), tuple(weights[i : i + room])) for i in starts]
    return chunks or [Chunk((), ())]


def _encode_chunk(family: Family, tower: TextTower, chunk: Chunk, clip_skip: int) -> Encoded:
    tokenizer, encoder = tower.tokenizer, tower.encoder
    ids = [tokenizer.bos_token_id, *chunk.ids, tokenizer.eos_token_id]
    ids += [tokenizer.pad_token_id] * (tower.window - len(ids))
    output = encoder(torch.tensor([ids], device=encoder.device), output_hidden_states=True)
    depth = min(clip_skip, len(output.hidden_states) - 2)
    pooled = None
    if family is Family.SDXL:
        # SDXL reads the layer before the last, without the final normalisation (diffusers' own pipeline).
        hidden = output.hidden_states[-(2 + min(depth, len(output.hidden_states) - 3))]
        pooled = getattr(output, "text_embeds", None)
    elif depth:
        # `text_model` is where older transformers keep the layers that newer ones have on the encoder itself.
        hidden = getattr(encoder, "text_model", encoder).final_layer_norm(output.hidden_states[-(1 + depth)])
    else:
        hidden = output.last_hidden_state
    return Encoded(_weighted(hidden, chunk, tower.window), pooled)


def _weighted(hidden: torch.Tensor, chunk: Chunk, window: int) -> torch.Tensor:
    """Each token's vector times its weight, then scaled so that the mean of the whole stays what it was (A1111's way)."""
    if all(weight == 1.0 for weight in chunk.weights):
        return hidden
    padding = window - 1 - len(chunk.weights)
    column = torch.tensor([1.0, *chunk.weights, *[1.0] * padding], dtype=torch.float32, device=hidden.device)
    emphasised = hidden.float() * column[None, :, None]
    ratio = float(hidden.float().mean() / emphasised.mean())
    # The mean of an encoding may be near zero, where the ratio explodes: then the emphasis stands as it is.
    restored = emphasised * ratio if 0.5 < ratio < 2 else emphasised
    return restored.to(hidden.dtype)
