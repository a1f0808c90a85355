"""Results under signed links. The name in a link is looked up in the store; no path is ever made of it."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from diffuserve.core.job import Artifact
from diffuserve.core.request import PictureFormat
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.links import unpacked
from diffuserve.media import marking

# A file is looked at, never run: also where somebody manages to have it shown as a page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
# The link is the permission; a page of another origin may show the picture.
_EVERYWHERE = {"cross-origin-resource-policy": "cross-origin"}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_DIGEST = 64
"""Characters of the name of a picture that was sent here."""


def files_router(rooms: Rooms) -> APIRouter:
    router = APIRouter(tags=["Files"])

    @router.get(
        "/files/{artifact_id}",
        operation_id="get_file",
        summary="Open a result by its signed link",
        response_class=Response,
        responses={200: {"content": {kind.media_type: _BYTES for kind in PictureFormat}}},
    )
    @router.head("/files/{artifact_id}", include_in_schema=False)
    async def get_file(
        artifact_id: str,
        request: Request,
        expires: Annotated[str, Query(max_length=20)] = "",
        signature: Annotated[str, Query(max_length=100)] = "",
        mark: Annotated[str, Query(max_length=2000, description="A watermark that was chosen with the link.")] = "",
    ) -> Response:
        name = artifact_id.partition(".")[0]
        rooms.links.check(name, expires, signature, mark)
        if len(name) == _DIGEST:
            return Response(
                await rooms.jobs.kept(name),
                headers={"content-security-policy": _POLICY, **_EVERYWHERE},
                media_type="image/png",
            )
        artifact = await named(name)
        etag = f'"{hashlib.sha256(f"{artifact.digest}{mark}".encode()).hexdigest() if mark else artifact.digest}"'
        headers = {
            "etag": etag,
            "cache-control": f"private, max-age={rooms.links.remaining(expires)}, immutable",
            "content-disposition": f'inline; filename="{artifact.id}.{artifact.media_type.rpartition("/")[2]}"',
            "content-security-policy": _POLICY,
            **_EVERYWHERE,
        }
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if request.method == "HEAD":
            size = len(await marked(artifact, mark)) if mark else artifact.size
            return Response(headers={**headers, "content-length": str(size)}, media_type=artifact.media_type)
        return Response(await marked(artifact, mark), headers=headers, media_type=artifact.media_type)

    async def named(name: str) -> Artifact:
        job_id, _, index = name.partition("-")
        return await (rooms.jobs.expected(int(job_id), int(index)) if index else rooms.jobs.artifact(name))

    async def marked(artifact: Artifact, mark: str) -> bytes:
        data = await rooms.jobs.read(artifact)
        return await asyncio.to_thread(marking.apply, data, unpacked(mark)) if mark else data

    return router
