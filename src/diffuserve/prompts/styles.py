"""Named styles: words that are put around a prompt and after its negative prompt.

The names are those of Baidu Qianfan's `style` parameter; the words are ours, chosen for SD 1.5 and SDXL, which know
pictures by such captions. The caller's own words come early, because CLIP heeds what comes first.
"""

from __future__ import annotations

from dataclasses import dataclass

from diffuserve.core.errors import InvalidParameter

_PROMPT = "{prompt}"
_EDGES = " \t\r\n,"


@dataclass(frozen=True, slots=True)
class Style:
    """One row of the table."""

    name: str
    """As it is shown; `find` takes it in any spelling."""
    prompt: str = _PROMPT
    """The template; `{prompt}` stands for the caller's words."""
    negative_prompt: str = ""
    """Added to the caller's."""

    @property
    def slug(self) -> str:
        """The name for addresses and identifiers: `3d-model`."""
        return self.name.lower().replace(" ", "-")


STYLES = (
    Style("Base"),
    Style(
        "3D Model",
        "{prompt}, polished 3d render, clean topology, physically based materials, global illumination, studio turntable",
        "flat, 2d, sketch, painting, photo grain, jagged polygons",
    ),
    Style(
        "Analog Film",
        "analog photograph of {prompt}, 35mm color negative film, soft halation, fine grain, faded tones, light leak",
        "digital sharpness, cgi, illustration, oversaturated, plastic skin",
    ),
    Style(
        "Anime",
        "anime illustration of {prompt}, clean cel shading, crisp line work, vivid colors, expressive, painted background",
        "photograph, realistic skin, 3d render, muddy colors, rough sketch",
    ),
    Style(
        "Cinematic",
        "film still of {prompt}, anamorphic lens, dramatic key light, shallow depth of field, color graded, atmospheric haze",
        "flat lighting, snapshot, cartoon, drawing, text, watermark",
    ),
    Style(
        "Comic Book",
        "{prompt}, comic book panel, bold ink outlines, halftone dots, flat bright colors, dynamic composition",
        "photograph, realistic, 3d render, blurry lines, speech bubble text",
    ),
    Style(
        "Craft Clay",
        "{prompt} made of modeling clay, stop motion figure, visible fingerprints, soft round shapes, tabletop set, warm light",
        "photograph of real people, flat drawing, metal, glass, sharp edges",
    ),
    Style(
        "Digital Art",
        "{prompt}, digital painting, concept art, confident brush strokes, rich color, detailed, strong lighting",
        "photograph, noise, low detail, washed out, amateur drawing",
    ),
    Style(
        "Enhance",
        "{prompt}, intricate detail, sharp focus, balanced composition, natural light, high dynamic range, high resolution",
        "blurry, low resolution, noise, compression artifacts, distorted, overexposed, underexposed",
    ),
    Style(
        "Fantasy Art",
        "{prompt}, epic fantasy painting, magical glow, ornate detail, sweeping scenery, mythical mood, volumetric light",
        "modern city, car, plain, photograph, dull colors, low detail",
    ),
    Style(
        "Isometric",
        "isometric view of {prompt}, miniature diorama, parallel projection, tidy geometry, soft shadows, plain background",
        "perspective distortion, close-up portrait, photograph, cluttered, tilted horizon",
    ),
    Style(
        "Line Art",
        "line drawing of {prompt}, black ink on white paper, clean continuous strokes, no shading, minimal",
        "color, photograph, shading, gradient, painting, gray background",
    ),
    Style(
        "Lowpoly",
        "{prompt}, low poly art, faceted triangles, flat shaded polygons, simple shapes, soft ambient light, pastel palette",
        "smooth surface, photograph, fine texture, noise, detailed skin",
    ),
    Style(
        "Neonpunk",
        "{prompt}, neon lit cyberpunk, glowing magenta and cyan, rain wet streets, deep shadows, futuristic, high contrast",
        "daylight, pastel, rustic, washed out, black and white, historical",
    ),
    Style(
        "Origami",
        "{prompt} folded from paper, origami sculpture, crisp creases, layered sheets, paper texture, soft studio light",
        "fur, skin, metal, painting, drawing, wrinkled trash, blurry",
    ),
    Style(
        "Photographic",
        "photograph of {prompt}, 50mm lens, natural light, true colors, realistic texture, sharp focus, soft bokeh",
        "drawing, painting, cartoon, 3d render, airbrushed, deformed",
    ),
    Style(
        "Pixel Art",
        "{prompt}, pixel art, 16-bit game sprite, limited palette, hard square pixels, clear silhouette",
        "smooth gradient, photograph, anti-aliasing, blurry, high detail, 3d render",
    ),
    Style(
        "Texture",
        "seamless texture of {prompt}, top down view, even lighting, fills the frame, tileable surface, material detail",
        "object, perspective, strong shadow, vignette, border, horizon",
    ),
)
"""`Base` changes nothing."""


def find(name: str) -> Style:
    """The style of that name in any case and spelling (`3D Model`, `3d-model`, `3d_model`). Raises InvalidParameter."""
    found = _BY_KEY.get(_key(name))
    if found is None:
        raise InvalidParameter("style", f"one of {', '.join(style.name for style in STYLES)}", name)
    return found


def apply(style: Style, prompt: str, negative_prompt: str) -> tuple[str, str]:
    """Both prompts in that style. What the caller wrote stands in each of them once, but for commas and blanks at its ends."""
    if not style.negative_prompt:
        return style.prompt.replace(_PROMPT, prompt), negative_prompt
    drawn = style.prompt.replace(_PROMPT, prompt.strip(_EDGES))
    return drawn, ", ".join(filter(None, (negative_prompt.strip(_EDGES), style.negative_prompt)))


def _key(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


_BY_KEY = {_key(style.name): style for style in STYLES}
