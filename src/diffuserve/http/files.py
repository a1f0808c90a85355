"""Results under signed links. The name in a link is looked up in the store; no path is ever made of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from diffuserve.dialects.base import Rooms

# A file is looked at, never run: also where somebody manages to have it shown as a page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


def files_router(rooms: Rooms) -> APIRouter:
    router = APIRouter(tags=["Files"])

    @router.get(
        "/files/{artifact_id}",
        operation_id="get_file",
        summary="Open a result by its signed link",
        response_class=Response,
        responses={200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    @router.head("/files/{artifact_id}", include_in_schema=False)
    async def get_file(
        artifact_id: str,
        request: Request,
        expires: Annotated[str, Query(max_length=20)] = "",
        signature: Annotated[str, Query(max_length=100)] = "",
    ) -> Response:
        rooms.links.check(artifact_id, expires, signature)
        artifact = await rooms.jobs.artifact(artifact_id)
        etag = f'"{artifact.digest}"'
        headers = {
            "etag": etag,
            "cache-control": f"private, max-age={rooms.links.remaining(expires)}, immutable",
            "content-disposition": f'inline; filename="{artifact.id}.{artifact.media_type.rpartition("/")[2]}"',
            "content-security-policy": _POLICY,
            # The link is the permission; a page of another origin may show the picture.
            "cross-origin-resource-policy": "cross-origin",
        }
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if request.method == "HEAD":
            return Response(headers={**headers, "content-length": str(artifact.size)}, media_type=artifact.media_type)
        return Response(await rooms.jobs.read(artifact), headers=headers, media_type=artifact.media_type)

    return router
