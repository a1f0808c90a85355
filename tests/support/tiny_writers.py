"""Small language models in the layout of real ones: a Marian that has learnt four phrases, and writers of random words."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import GPT2Config, GPT2LMHeadModel, MarianConfig, MarianMTModel, PreTrainedTokenizerFast

from diffuserve.engine.diffusion.sentencepieces import read_spm

SPM = Path(__file__).parents[1] / "integration" / "prompts" / "pieces" / "chinese.spm"
PHRASES = {
    "红苹果": "a red apple",
    "蓝色的猫": "a blue cat",
    "白色背景": "white background",
    "树在雪中": "a tree in snow",
}
"""What the tiny Marian translates."""

_WORDS = (
    "a",
    "red",
    "green",
    "blue",
    "cat",
    "apple",
    "house",
    "soft",
    "light",
    "oil",
    "painting",
    "forest",
    "golden",
    ",",
    ".",
)


def save_marian(folder: Path) -> Path:
    """As OPUS-MT's folders: `source.spm`, `vocab.json`, `config.json`, `generation_config.json`, `model.safetensors`."""
    english = sorted({f"\u2581{word}" for phrase in PHRASES.values() for word in phrase.split()})
    chinese = sorted(piece for piece in read_spm(SPM.read_bytes()).get_vocab() if not piece.startswith("<"))
    pieces = ["</s>", "<unk>", *dict.fromkeys([*chinese, *english]), "<pad>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    folder.mkdir(parents=True)
    (folder / "source.spm").write_bytes(SPM.read_bytes())
    (folder / "target.spm").write_bytes(SPM.read_bytes())
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    _taught(vocabulary).save_pretrained(folder)
    return folder


def save_writer(folder: Path, *, chat_template: str | None = None) -> Path:
    """A causal language model with random weights, which knows fifteen words."""
    torch.manual_seed(5)
    vocabulary = {word: number for number, word in enumerate(["<unk>", "</s>", *_WORDS])}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>")
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    # Large weights, so that what it writes depends on what it reads.
    config = GPT2Config(
        vocab_size=len(vocabulary),
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=256,
        bos_token_id=1,
        eos_token_id=1,
        initializer_range=0.6,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def _taught(vocabulary: dict[str, int]) -> MarianMTModel:
    torch.manual_seed(7)
    end, padding = vocabulary["</s>"], vocabulary["<pad>"]
    config = MarianConfig(
        vocab_size=len(vocabulary),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=64,
        dropout=0.0,
        eos_token_id=end,
        forced_eos_token_id=end,
        pad_token_id=padding,
        decoder_start_token_id=padding,
        bad_words_ids=[[padding]],
        num_beams=4,
    )
    model = MarianMTModel(config)
    spm = read_spm(SPM.read_bytes())
    pairs = [
        (
            torch.tensor([[*(vocabulary[piece] for piece in spm.encode(source).tokens), end]]),
            torch.tensor([[*(vocabulary[f"\u2581{word}"] for word in target.split()), end]]),
        )
        for source, target in PHRASES.items()
    ]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(120):
        loss = sum(model(input_ids=source, labels=target).loss for source, target in pairs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()
