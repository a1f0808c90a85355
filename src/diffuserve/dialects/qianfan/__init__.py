"""The Qianfan dialect: text-to-image of Baidu's Qianfan platform (`text2image/sd_xl`), with its tokens and signatures.

`POST /rpc/2.0/ai_custom/v1/wenxinworkshop/text2image/{endpoint}` answers when the pictures are done,
`/oauth/2.0/token` gives access tokens to pairs of keys, `POST /wenxinworkshop/service/list` lists models for clients that
sign. Declared gaps: the V2 images API, bearer tokens of the V2 API, chat. `docs/dialects/qianfan.md` says what each
parameter does.

Read on in `wire.py`, `parse.py`, `keys.py`, `render.py`, `errors.py`, `tokens.py`, `console.py`, `routes.py`.
"""

from __future__ import annotations

from diffuserve.dialects.base import Dialect
from diffuserve.dialects.qianfan.errors import MOUNT, STATUSES, render_error
from diffuserve.dialects.qianfan.routes import TITLE, build

__all__ = ["dialect"]


def dialect() -> Dialect:
    return Dialect(
        name="qianfan",
        title=TITLE,
        description="Baidu Qianfan's text-to-image; the answer waits for the pictures.",
        mounts=("", MOUNT),
        territory=("/rpc/2.0/ai_custom", "/oauth/2.0", "/wenxinworkshop", MOUNT),
        build=build,
        errors=STATUSES,
        render_error=render_error,
    )
