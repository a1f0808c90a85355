"""Volcengine's visual API: signed image-to-image at `POST /?Action=...&Version=...`, as the vendor's SDKs call it.

`CVProcess` answers with the picture; `CVSync2AsyncSubmitTask`, `CVSync2AsyncGetResult` and `CVCancelTask` work on tasks
(`CVSubmitTask` and `CVGetResult` are the same under other names); `AIGCStylizeImageUsage` is the newer call without a prompt.
What a `req_key` draws is a recipe. Declared gaps: moderation, provenance metadata (`aigc_meta`), tokens of `sign_sts2`, every
other algorithm of the vendor's. `docs/dialects/volcengine.md` says what each parameter does.

The signature is checked in `auth.volcengine`. Read on in `wire.py`, `actions.py`, `recipes.py`, `parse.py`, `pictures.py`,
`keys.py`, `envelope.py`, `render.py`, `errors.py`, `routes.py`.
"""

from __future__ import annotations

from functools import partial

from diffuserve.dialects.base import Dialect
from diffuserve.dialects.volcengine.errors import STATUSES, render_error
from diffuserve.dialects.volcengine.manners import Manners
from diffuserve.dialects.volcengine.recipes import Recipes
from diffuserve.dialects.volcengine.routes import build

__all__ = ["Manners", "dialect"]


def dialect(manners: Manners | None = None) -> Dialect:
    """The dialect with a server's manners. Raises ConfigurationError for recipes that share a name."""
    manners = manners or Manners()
    return Dialect(
        name="volcengine",
        title="Volcengine",
        description="Volcengine's visual API: signed image-to-image, at once or as a task.",
        mounts=("", "/volcengine"),
        # The clients glue host and "/" together: they know no other path.
        territory=("/", "/volcengine"),
        build=partial(build, manners=manners, recipes=Recipes(manners.recipes)),
        errors=STATUSES,
        render_error=render_error,
    )
