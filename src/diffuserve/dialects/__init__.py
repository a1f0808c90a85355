"""The HTTP dialects that diffuserve speaks: one folder for each, none knows another.

Read `base.py` and `endpoint.py`, then `plain/` file by file. To add a dialect, write its folder and name it below.
"""

from __future__ import annotations

from diffuserve.config import Settings
from diffuserve.dialects import ipollo, modelslab, native, plain, qianfan, volcengine
from diffuserve.dialects.base import Dialect


def dialects(settings: Settings) -> tuple[Dialect, ...]:
    """Every dialect of a server with these settings. The first one answers for paths that belong to none."""
    return (
        native.dialect(),
        plain.dialect(plain.Manners.of(settings)),
        modelslab.dialect(modelslab.Manners.of(settings)),
        qianfan.dialect(),
        volcengine.dialect(volcengine.Manners.of(settings)),
        ipollo.dialect(ipollo.Manners.of(settings)),
    )
