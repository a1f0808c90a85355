"""The native dialect: diffuserve's own JSON API under `/diffuserve/v1`, asynchronous, with live progress.

`POST jobs`, `GET jobs/{id}`, `GET jobs/{id}/events`, `DELETE jobs/{id}`, `GET models`, `GET styles`, `GET samplers`. Field
names are the core's own. It also answers for paths that belong to no dialect. `docs/dialects/native.md` is its page.

Read on in `body.py`, `wire.py`, `parse.py`, `pictures.py`, `render.py`, `lists.py`, `errors.py`, `routes.py`.
"""

from __future__ import annotations

from diffuserve.dialects.base import Dialect
from diffuserve.dialects.native.errors import STATUSES, render_error
from diffuserve.dialects.native.render import delivery
from diffuserve.dialects.native.routes import build

__all__ = ["dialect"]


def dialect() -> Dialect:
    return Dialect(
        name="native",
        title="Native",
        description="diffuserve's own API: durable jobs, live progress, every parameter.",
        mounts=("/diffuserve/v1",),
        territory=("/diffuserve",),
        build=build,
        errors=STATUSES,
        render_error=render_error,
        render_delivery=delivery,
    )
