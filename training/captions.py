"""Captions in the words that the model was trained with: English or Chinese, with a style or a colour or neither."""

from __future__ import annotations

import random

STYLES = {
    "3d": (("3d", "3d render", "3d style"), ("3D", "3D渲染", "立体")),
    "flat": (("flat", "flat design", "flat icon"), ("扁平", "扁平风格", "扁平图标")),
    "cartoon": (("cartoon", "cartoon style"), ("卡通", "卡通风格")),
    "icon": (("black and white icon", "line art"), ("黑白图标", "线稿")),
}
_SILENT = {"3d": 0.6, "flat": 0.1, "cartoon": 0.1, "icon": 0.03}
"""How often the style is not said. A bare name has the model draw its 3d style."""
COLOURS = {
    "red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色", "blue": "蓝色", "purple": "紫色", "pink": "粉色",
}  # fmt: skip


def caption(english: str, chinese: str, style: str, colour: str | None, rng: random.Random) -> str:
    """One prompt that asks for this picture."""
    language = rng.choice((0, 1))
    text = (english, chinese)[language]
    if colour:
        text = (f"{colour} {text}", f"{COLOURS[colour]}的{text}")[language]
    elif language == 0 and rng.random() < 0.35:
        text = rng.choice(("a ", "the ", "one ")) + text
    if rng.random() > _SILENT[style]:
        word = rng.choice(STYLES[style][language])
        text = rng.choice(((f"{word} {text}", f"{text}, {word}"), (f"{word}{text}", f"{text}，{word}"))[language])
    return text
