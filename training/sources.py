"""Open drawings of the model's own 122 things, from four npm packages (README.md has their licences).

A drawing is RGBA, cropped to what is drawn. SVG is drawn by `resvg_py`, which is imported only here.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

SIDE = 256
"""Pixels of a drawing before it is cropped: twice what the model draws."""

SVG_SETS = {"fluent-emoji-flat": "flat", "noto": "cartoon", "fluent-emoji-high-contrast": "icon"}
"""Package of @iconify-json -> the style that the model knows it by."""


@dataclass(frozen=True, slots=True)
class Drawing:
    number: int
    """Of the thing, in `concepts.json`."""
    english: str
    chinese: str
    style: str
    image: Image.Image


def drawings(packages: Path, concepts: Path) -> Iterator[Drawing]:
    """Each thing in each of the four styles. Raises KeyError for a thing that a set does not have."""
    things = json.loads(concepts.read_text(encoding="utf-8"))
    codes = _codes(packages / "emojibase-data" / "en" / "data.json")
    glossy = {_bare(path.stem): path for path in (packages / "@lobehub/fluent-emoji-3d/assets").glob("*.webp")}
    sets = {style: _Icons(packages / "@iconify-json" / name) for name, style in SVG_SETS.items()}
    for number, thing in enumerate(things):
        code = codes[thing["en"].casefold()]
        with Image.open(glossy[code]) as image:
            yield Drawing(number, thing["en"], thing["zh"], "3d", _cropped(image.convert("RGBA")))
        for style, icons in sets.items():
            yield Drawing(number, thing["en"], thing["zh"], style, _cropped(icons.draw(code, thing["en"])))


class _Icons:
    """One Iconify package."""

    def __init__(self, folder: Path) -> None:
        self._set = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
        characters = json.loads((folder / "chars.json").read_text(encoding="utf-8"))
        self._by_code = {_bare(code): name for code, name in characters.items()}
        self._by_name = {_slug(name): name for name in self._set["icons"]}

    def draw(self, code: str, name: str) -> Image.Image:
        import resvg_py

        icon = self._set["icons"][self._by_code.get(code) or self._by_name[_slug(name)]]
        picture = resvg_py.svg_to_bytes(svg_string=self._svg(icon), skip_system_fonts=True)
        return Image.open(io.BytesIO(bytes(picture))).convert("RGBA")

    def _svg(self, icon: dict[str, Any]) -> str:
        width, height = (icon.get(side, self._set.get(side, 16)) for side in ("width", "height"))
        box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'width="{SIDE}" height="{SIDE}" viewBox="{box}">{icon["body"].replace("currentColor", "#000")}</svg>'
        )


def _codes(labels: Path) -> dict[str, str]:
    """Unicode code points by English name."""
    return {entry["label"].casefold(): _bare(entry["hexcode"]) for entry in json.loads(labels.read_text("utf-8"))}


def _bare(code: str) -> str:
    """Without the selector that asks for a colour picture: some sets name it, some do not."""
    return "-".join(part for part in code.lower().split("-") if part != "fe0f")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _cropped(image: Image.Image) -> Image.Image:
    return image.crop(image.getchannel("A").point(lambda value: 255 if value > 8 else 0).getbbox())
