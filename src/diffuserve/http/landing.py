"""The page at `/`: what this is, whether it can draw, and a line to try. No script, no form, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from html import escape

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from diffuserve import __version__
from diffuserve.core.ports import EngineStatus
from diffuserve.dialects.base import Dialect, base_url
from diffuserve.jobs.catalog import Catalog

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1b22; --soft: #65636f; --page: #faf9fc;
  --card: #fff; --line: #e4e1ea; --mark: #6b3fd4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #eceaf3; --soft: #a5a2b2; --page: #131218; --card: #1c1b23; --line: #33313d; --mark: #b79bff; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.6 system-ui, "Noto Sans SC", sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 3.5rem 1.25rem; }
h1 { margin: 0; font-size: 2.4rem; letter-spacing: -0.03em; line-height: 1.2; }
h1 small { margin-left: 0.4rem; font-size: 0.95rem; font-weight: 400; letter-spacing: 0; color: var(--soft); }
h2 { margin: 2.4rem 0 0.7rem; font-size: 1.05rem; }
p { margin: 0.5rem 0; }
.lead, dd, td + td { color: var(--soft); }
.state { display: inline-flex; align-items: center; gap: 0.55rem; margin-top: 1rem; padding: 0.25rem 0.9rem;
  border: 1px solid var(--line); border-radius: 2rem; background: var(--card); font-size: 0.92rem; }
.state::before { content: ""; width: 0.6rem; height: 0.6rem; border-radius: 50%; background: #d9911a; }
.ready::before { background: #2fa45c; }
pre { margin: 0; padding: 1rem 1.15rem; overflow-x: auto; border: 1px solid var(--line); border-radius: 0.7rem;
  background: var(--card); font: 0.88rem/1.6 ui-monospace, "DejaVu Sans Mono", monospace; }
table { width: 100%; border-collapse: collapse; font-size: 0.95rem; }
td { padding: 0.5rem 1rem 0.5rem 0; border-top: 1px solid var(--line); vertical-align: top; }
td:first-child { white-space: nowrap; }
code { font: 0.9em ui-monospace, "DejaVu Sans Mono", monospace; }
a { color: var(--mark); }
nav { display: flex; flex-wrap: wrap; gap: 0.4rem 1.4rem;
  margin-top: 2.6rem; padding-top: 1.1rem; border-top: 1px solid var(--line); }
"""

_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def landing_router(
    dialects: Sequence[Dialect],
    catalog: Callable[[], Catalog],
    status: Callable[[], EngineStatus],
    is_open: Callable[[], Awaitable[bool]],
    public_url: str | None,
) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def landing(request: Request) -> Response:
        base = (public_url or base_url(request)).rstrip("/")
        now = status()
        page = _page(base, dialects, catalog(), now, is_open=await is_open())
        headers = {"content-security-policy": _POLICY, "cache-control": "no-store"}
        if not now.ready:
            headers["refresh"] = "3"  # seconds; a page without scripts that shows when the engine is ready
        return Response(page, media_type="text/html", headers=headers)

    return router


def _page(base: str, dialects: Sequence[Dialect], catalog: Catalog, status: EngineStatus, *, is_open: bool) -> str:
    where = ", ".join(filter(None, (status.device, status.dtype)))
    state = f"Ready on {where or 'its device'}" if status.ready else f"Not ready yet: {status.detail or 'starting'}"
    remark = (
        f'<p class="lead">{escape(status.detail)}</p>' if status.ready and status.detail not in ("", "ready") else ""
    )
    key = "" if is_open else " -H 'Authorization: Bearer YOUR_KEY'"
    curl = f"curl {base}/txt2img{key} -d prompt='a red apple' -d seed=7"
    # Which models there are is told to those who may draw with them.
    models = [_model(m.name, m.description, m.name == catalog.default.name) for m in catalog.models]
    catalogue = f"<h2>Models</h2>\n<table>{''.join(models)}</table>" if is_open else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>diffuserve</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>diffuserve<small>{escape(__version__)}</small></h1>
<p class="lead">A Stable Diffusion server that speaks the HTTP APIs your applications already use.</p>
<p class="state{" ready" if status.ready else ""}">{escape(state)}</p>
{remark}
<h2>Draw something</h2>
<pre>{escape(curl)}</pre>
<p class="lead">The answer holds a link to the picture.</p>
<h2>Dialects</h2>
<table>{"".join(_row(dialect) for dialect in dialects)}</table>
{catalogue}
<nav><a href="docs">Interactive documentation</a><a href="openapi.json">OpenAPI</a><a href="readyz">Readiness</a><a
href="metrics">Metrics</a></nav>
</main>
</body>
</html>
"""


def _row(dialect: Dialect) -> str:
    paths = ", ".join(f"<code>{escape(mount or '/')}</code>" for mount in dialect.mounts)
    return f"<tr><td>{escape(dialect.title)}</td><td>{escape(dialect.description)} At {paths}.</td></tr>"


def _model(name: str, description: str, default: bool) -> str:
    remark = escape(description) + (" The default." if default else "")
    return f"<tr><td><code>{escape(name)}</code></td><td>{remark.strip()}</td></tr>"
