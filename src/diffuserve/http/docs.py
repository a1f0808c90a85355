"""The interactive documentation, whole without the internet: Swagger UI's files come from an installed package."""

from __future__ import annotations

from collections.abc import Iterator, Set
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from diffuserve.core.errors import RouteNotFound

_ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'"
)

# All addresses are relative: behind a proxy the server may not stand at the root.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>diffuserve: interactive documentation</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. The description itself is at <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
"""


_KEY = {"type": "http", "scheme": "bearer", "description": "From `diffuserve keys create`, where the server has keys."}


def describe(app: FastAPI, keyed: Set[str]) -> None:
    """Make the application describe itself without what FastAPI adds and no dialect answers: 422, and problems as JSON.

    Operations with a tag in `keyed` take a key, if the server asks for one.
    """
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            for operation in _operations(schema["paths"]):
                if not keyed.isdisjoint(operation.get("tags", ())):
                    operation["security"] = [{"key": []}, {}]
                operation["responses"].pop("422", None)
                for answer in operation["responses"].values():
                    if "application/problem+json" in answer.get("content", ()):
                        answer["content"].pop("application/json", None)
            schema.setdefault("components", {})["securitySchemes"] = {"key": _KEY}
            for name in ("HTTPValidationError", "ValidationError"):
                schema.get("components", {}).get("schemas", {}).pop(name, None)
        return app.openapi_schema or generate()

    app.openapi = openapi  # type: ignore[method-assign]


def _operations(paths: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every operation, and those that callers offer to us."""
    for path in paths.values():
        for operation in path.values():
            yield operation
            for offered in operation.get("callbacks", {}).values():
                yield from _operations(offered)


def docs_router() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def page() -> Response:
        return Response(_PAGE, media_type="text/html", headers={"content-security-policy": _POLICY})

    @router.get("/docs/{name}")
    async def asset(name: str) -> Response:
        if name == "start.js":
            return Response(_START, media_type="text/javascript")
        if name not in _ASSETS:
            raise RouteNotFound(f"/docs/{name}")
        return Response(_asset(name), media_type=_ASSETS[name], headers={"cache-control": "public, max-age=3600"})

    return router


@cache
def _asset(name: str) -> bytes:
    return files("fastapi_offline").joinpath("static", name).read_bytes()
