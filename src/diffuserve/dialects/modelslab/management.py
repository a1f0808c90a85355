"""The management calls of a rented server, as far as they mean anything on one's own: look at it, clear one's queue, send a
picture. What would change the server is an administrator's affair, and done in its settings.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from diffuserve.core.errors import Forbidden, InvalidParameter, MissingParameter, UnknownModel
from diffuserve.core.model import ModelInfo
from diffuserve.dialects.base import Rooms, base_url
from diffuserve.dialects.endpoint import principal
from diffuserve.dialects.modelslab import eta, solver
from diffuserve.dialects.modelslab.errors import refusal, reply
from diffuserve.dialects.modelslab.loose import Fields
from diffuserve.dialects.modelslab.manners import Manners
from diffuserve.dialects.pictures import input_picture

Call = Callable[[Request, Fields], Awaitable[Response]]

UPLOAD_SECONDS = 3600
"""How long a picture that was sent is surely there: then the sweeper may take what no job uses."""

_IN_SETTINGS = "this server's models are listed in its settings: add or remove a [[models]] table and restart it"
NOT_OFFERED = {
    "load_vae": _IN_SETTINGS,
    "delete_model": f"models are unloaded by themselves when memory is needed; {_IN_SETTINGS}",
    "restart_server": "this server cannot restart itself: its operator does",
    "update_server": "this server cannot update itself: its operator installs a newer version",
    "update": "this server cannot update itself: its operator installs a newer version",
    "sync_models": _IN_SETTINGS,
    "update_s3": "where pictures lie is one of this server's settings",
    "reset_s3": "where pictures lie is one of this server's settings",
}
"""Administrators are told so with 501, others that they are none."""
WITHOUT_MODEL = {
    "super_resolution": "this server has no model that enlarges pictures; `upscale` enlarges what it draws",
    "nsfw_image_check": "this server has no model that judges pictures",
}
_UNSAFE = frozenset({"ckpt", "pt", "custom_ckpt"})


@dataclass(frozen=True)
class Desk:
    """Answers the management calls of one server."""

    rooms: Rooms
    manners: Manners
    speed: eta.Speedometer
    since: float
    """When the server began, which is when its models were listed."""

    def calls(self) -> Mapping[str, Call]:
        """By the last segment of the path."""
        own: dict[str, Call] = {
            "system_details": self.system_details,
            "get_all_models": self.get_all_models,
            "verify_model": self.verify_model,
            "schedulers_list": self.schedulers_list,
            "load_model": self.load_model,
            "load_model_v2": self.load_model,
            "clear_cache": self.clear_cache,
            "clear_queue": self.clear_queue,
            "upload_image": self.upload_image,
        }
        refused = {name: self._administrators(words) for name, words in NOT_OFFERED.items()}
        missing = {name: self._missing(words) for name, words in WITHOUT_MODEL.items()}
        return {**own, **refused, **missing}

    async def system_details(self, request: Request, fields: Fields) -> Response:
        return reply({"model_count": len(self.rooms.jobs.catalog.models), **await self._load(), "status": "ok"})

    async def system_load(self, request: Request, fields: Fields) -> Response:
        backlog = await self.rooms.jobs.ahead()
        return reply({"queue_num": backlog.waiting, **await self._load(), "status": "ok"})

    async def get_all_models(self, request: Request, fields: Fields) -> Response:
        loaded = datetime.fromtimestamp(self.since, UTC).strftime("%m/%d/%Y %H:%M:%S")
        models = [{"model_id": model.name, "load_data": loaded} for model in self.rooms.jobs.catalog.models]
        return reply({"models": models, "status": "success"})

    async def model_list(self, request: Request, fields: Fields) -> Response:
        """A bare array, as the vendor's oldest pages have it."""
        return reply([_listed(model, self.since) for model in self.rooms.jobs.catalog.models])

    async def verify_model(self, request: Request, fields: Fields) -> Response:
        self._model(fields)
        return reply({"status": "success", "message": "Model exists on server"})

    async def schedulers_list(self, request: Request, fields: Fields) -> Response:
        return reply({"schedulers": list(solver.LISTED), "status": "success"})

    async def load_model(self, request: Request, fields: Fields) -> Response:
        """A model that is listed is loaded by its first job; no other can be added while the server runs."""
        for name in ("model_type", "model_format"):
            if fields.text(name).strip().lower() in _UNSAFE:
                raise InvalidParameter(
                    name, "safetensors or diffusers: pickled weights are never opened", fields.raw(name)
                )
        try:
            model = self._model(fields)
        except UnknownModel:
            _check_admin(request)
            return refusal(501, _IN_SETTINGS, legacy=self.manners.legacy_errors)
        return reply({"status": "success", "message": "model load started", "model_id": model.name})

    async def clear_cache(self, request: Request, fields: Fields) -> Response:
        tip = "nothing had to be done: what this server caches never changes a picture"
        return reply({"status": "success", "message": "Cache cleared successfully", "tip": tip})

    async def clear_queue(self, request: Request, fields: Fields) -> Response:
        count = await self.rooms.jobs.clear(principal(request))
        return reply({"status": "success", "message": f"{count} waiting requests were canceled"})

    async def upload_image(self, request: Request, fields: Fields) -> Response:
        fields.choice("image_type", ("png", "jpeg", "jpg"), "png")
        link = await self._keep(request, fields, "base64_image")
        return reply({"status": "success", "message": "image uploaded", "image_url": link})

    async def base64_to_url(self, request: Request, fields: Fields) -> Response:
        link = await self._keep(request, fields, "base64_string")
        return reply({"status": "success", "id": 1, "output": [link]})

    async def _keep(self, request: Request, fields: Fields, name: str) -> str:
        source = fields.picture(name)
        if source is None:
            raise MissingParameter(name)
        picture = await input_picture(self.rooms, source, name)
        await self.rooms.jobs.keep(picture)
        return self.rooms.links.sent(picture.digest, base_url(request), seconds=UPLOAD_SECONDS)

    async def _load(self) -> dict[str, int]:
        backlog = await self.rooms.jobs.ahead()
        return {"queue_time": eta.queue_seconds(backlog, self.speed.read(self.rooms.status()))}

    def _model(self, fields: Fields) -> ModelInfo:
        name = fields.text("model_id").strip()
        if not name:
            raise MissingParameter("model_id")
        return self.rooms.jobs.catalog.find(name)

    def _administrators(self, words: str) -> Call:
        async def call(request: Request, fields: Fields) -> Response:
            _check_admin(request)
            return refusal(501, words, legacy=self.manners.legacy_errors)

        return call

    def _missing(self, words: str) -> Call:
        async def call(request: Request, fields: Fields) -> Response:
            return refusal(501, words, legacy=self.manners.legacy_errors)

        return call


def _check_admin(request: Request) -> None:
    if not principal(request).is_admin:
        raise Forbidden("this needs a key with the scope admin")


def _listed(model: ModelInfo, since: float) -> dict[str, Any]:
    return {
        "model_id": model.name,
        "status": "model_ready",
        "created_at": datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
        "instance_prompt": None,
        "model_name": model.name,
        "description": model.description or None,
        "screenshots": None,
    }
