"""iPollo and TwinSync: SDXL text-to-image paid for by a wallet address, and tasks of talking and acting videos.

`POST /iPollo/stableDiffsionXL/txt2img` and `/iPollo/chatGPT/txt2img` answer when the picture is there; the video calls below
`/iPollo/twinSync` (and `/videotalking`, `/phototalking`) hand work to `workers.py`; a GET on any of these paths finds any
task. Declared gaps: there is no worker for video or speech yet, so those are checked and then answered 203.
`docs/dialects/ipollo.md` says what each parameter does.

Read on in `operations.py`, `wire.py`, `parse.py`, `keys.py`, `wallets.py`, `tasks.py`, `workers.py`, `drawing.py`, `render.py`,
`errors.py`, `routes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from diffuserve.dialects.base import Dialect
from diffuserve.dialects.ipollo.errors import STATUSES, render_error
from diffuserve.dialects.ipollo.manners import Manners
from diffuserve.dialects.ipollo.operations import NAME, Kind
from diffuserve.dialects.ipollo.routes import build
from diffuserve.dialects.ipollo.workers import Worker

__all__ = ["Manners", "dialect"]


def dialect(manners: Manners | None = None, workers: Mapping[Kind, Worker] | None = None) -> Dialect:
    """The dialect with a server's manners; `workers` take on the tasks of their kinds."""
    return Dialect(
        name=NAME,
        title="iPollo",
        description="iPollo and TwinSync: SDXL text-to-image and video tasks, paid for by a wallet address.",
        mounts=("", "/ipollo"),
        territory=("/iPollo", "/ipollo", "/videotalking", "/phototalking"),
        build=partial(build, manners=manners or Manners(), workers=workers or {}),
        errors=STATUSES,
        render_error=render_error,
    )
