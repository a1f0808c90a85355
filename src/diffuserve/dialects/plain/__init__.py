"""The plain dialect: the form-encoded Stable Diffusion server that early plugins and scripts speak.

`POST /txt2img`, `/img2img`, `/masking` (inpainting) and `/custom/<model>` answer when the pictures are done, `GET /ping`
and `/custom_models` at once. `docs/dialects/plain.md` says what each parameter does.

Read on in `wire.py`, `parse.py`, `keys.py`, `render.py`, `errors.py`, `routes.py`.
"""

from __future__ import annotations

from functools import partial

from diffuserve.dialects.base import Dialect
from diffuserve.dialects.plain.errors import STATUSES, render_error
from diffuserve.dialects.plain.parse import Manners
from diffuserve.dialects.plain.routes import build

__all__ = ["Manners", "dialect"]


def dialect(manners: Manners | None = None) -> Dialect:
    """The dialect with a server's manners."""
    manners = manners or Manners()
    return Dialect(
        name="plain",
        title="Plain",
        description="Form-encoded text-to-image, image-to-image and inpainting; the answer waits for the pictures.",
        mounts=("", "/plain"),
        territory=("/txt2img", "/img2img", "/masking", "/custom", "/custom_models", "/ping", "/plain"),
        build=partial(build, manners=manners),
        errors=STATUSES,
        render_error=partial(render_error, always_200=manners.always_200),
    )
