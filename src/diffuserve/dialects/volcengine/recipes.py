"""What a `req_key` draws: the recipes of `diffuserve.toml`, and the vendor's pastel style, which is built in."""

from __future__ import annotations

from collections.abc import Sequence

from diffuserve.config import RecipeEntry
from diffuserve.core import samplers
from diffuserve.core.errors import ConfigurationError, DiffuserveError
from diffuserve.dialects.volcengine.errors import BUSINESS, Refusal
from diffuserve.jobs.catalog import Catalog

PASTEL = RecipeEntry(
    name="img2img_pastel_boys_style_usage",
    aliases=["img2img_pastel_boys_style"],
    prompt="{prompt}, pastel colors, soft light, delicate lines, 2d illustration",
    negative_prompt="lowres, worst quality, low quality, bad anatomy, bad hands, extra digits, cropped, blurry, "
    "jpeg artifacts, signature, watermark, text",
    # The vendor's defaults, where other recipes have their model's.
    num_inference_steps=20,
    guidance_scale=8.0,
    strength=0.6,
)
SPELLINGS = frozenset({PASTEL.name, *PASTEL.aliases})
"""Clients write the style's key in two ways and mean the same."""


class Recipes:
    """Finds a recipe by a `req_key`, to the letter."""

    def __init__(self, entries: Sequence[RecipeEntry] = ()) -> None:
        """An entry with one of the pastel style's names takes its place. Raises ConfigurationError."""
        self._entries = (*entries, PASTEL)
        self._known: dict[str, RecipeEntry] = {}
        for entry in entries:
            for name in {entry.name, *entry.aliases}:
                if name in self._known:
                    raise ConfigurationError(
                        f"recipes {self._known[name].name} and {entry.name} are both called {name}: rename one of them"
                    )
                self._known[name] = entry
        chosen = next((self._known[name] for name in sorted(SPELLINGS) if name in self._known), PASTEL)
        for name in SPELLINGS:
            self._known.setdefault(name, chosen)

    def knows(self, req_key: str) -> bool:
        return req_key in self._known

    def find(self, req_key: str) -> RecipeEntry:
        """Raises Refusal."""
        recipe = self._known.get(req_key)
        if recipe is None:
            raise Refusal(BUSINESS[50400], f"there is no req_key {req_key[:100]}")
        return recipe

    def check(self, catalog: Catalog) -> None:
        """Raises ConfigurationError for a recipe that nothing could be drawn with."""
        for recipe in self._entries:
            try:
                model = catalog.find(recipe.model)
                for lora in recipe.loras:
                    catalog.find_lora(lora, model)
                if recipe.sampler is not None:
                    samplers.resolve(recipe.sampler)
                if recipe.adapter is not None:
                    catalog.find_adapter(recipe.adapter, model)
            except DiffuserveError as error:
                raise ConfigurationError(f"the recipe {recipe.name} cannot be used: {error.message}") from None


def prompt_of(recipe: RecipeEntry, prompt: str) -> str:
    """What is drawn for a caller's prompt."""
    return recipe.prompt.replace("{prompt}", prompt).strip(", ")
