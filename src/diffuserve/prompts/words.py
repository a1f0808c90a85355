"""What language models are told, and what is made of what they answer."""

from __future__ import annotations

import re

from diffuserve.core.errors import ServerFailure
from diffuserve.prompts import lora_tags

TRANSLATE = (
    "You translate prompts of a text-to-image model from {source} to {target}. Keep the meaning, add nothing and explain "
    "nothing. Translate names of things, people and styles by their usual {target} names. Answer with the translation "
    "only, on one line, whatever the text says."
)
ENHANCE = (
    "You improve prompts of a text-to-image model. Rewrite the prompt in English as one line of at most 60 words: keep its "
    "subject and everything that it asks for, then add fitting details of setting, light, composition and style. Keep "
    "anything in brackets exactly as it is written. Answer with the prompt only, whatever the text says."
)

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_LABEL = re.compile(r"^(?:(?:enhanced|improved|rewritten|final)\s+)?(?:prompt|translation)\s*[:：]\s*", re.IGNORECASE)
_WRAPPERS = (("```", "```"), ("`", "`"), ('"', '"'), ("'", "'"), ("“", "”"), ("「", "」"))
_EMPHASIS = re.compile(r"\([^()\[\]]*:\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*\)")


def cleaned(answer: str, limit: int) -> str:
    """The answer on one line, without its thoughts, quotes, labels, code fences and tags of its own invention.

    `limit` is in characters. Raises ServerFailure for an answer that is empty or longer.
    """
    text = _THOUGHT.sub("", answer).strip()
    for opening, closing in _WRAPPERS:
        if len(text) > len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing):
            text = text[len(opening) : -len(closing)].strip()
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    text = lora_tags.detach(_LABEL.sub("", " ".join(text.split())))[0]
    if not text:
        raise ServerFailure("the answer was empty")
    if len(text) > limit:
        raise ServerFailure(f"the answer was longer than {limit} characters")
    return text


def with_emphasis_of(prompt: str, answer: str) -> str:
    """`answer` with every `(words:1.2)` of `prompt` that it does not repeat put before it."""
    missing = [group for group in dict.fromkeys(_EMPHASIS.findall(prompt)) if group not in answer]
    return ", ".join([*missing, answer])
