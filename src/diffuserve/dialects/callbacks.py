"""Notifications, as far as dialects share them: taking a caller's wish for one, and finding who puts it into words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from diffuserve.core.delivery import Callback, Delivery
from diffuserve.core.errors import InvalidParameter
from diffuserve.core.job import Job
from diffuserve.dialects.base import Dialect, Rooms, base_url
from diffuserve.outgoing.address import check_target
from diffuserve.webhooks import sign
from diffuserve.webhooks.rendered import Render, Rendered


@dataclass(frozen=True)
class Wish:
    """Where a caller wants to be told, as it stood in the request, and the names of the parameters that said so."""

    url: str
    url_param: str
    secret: str | None = None
    secret_param: str = ""
    track_id: str | None = None


def callback(rooms: Rooms, request: Request, dialect: str, wish: Wish) -> Callback:
    """What `JobService.submit` takes. Raises InvalidParameter for an address that will never be called."""
    url = check_target(wish.url, wish.url_param, allow_private=rooms.notices.allow_private)
    if wish.secret is not None:
        try:
            sign.read_secret(wish.secret)
        except ValueError:
            raise InvalidParameter(wish.secret_param, sign.SECRET_FORM) from None
    return Callback(url, dialect, secret=wish.secret, track_id=wish.track_id, base_url=base_url(request))


def signing_secret(rooms: Rooms, job: Job, delivery: Delivery) -> bytes:
    """What signs a notification: the caller's own secret, or its account's."""
    own = delivery.callback.secret
    return sign.read_secret(own) if own is not None else rooms.notices.secrets.of(job.account)


def renderer(dialects: Sequence[Dialect], rooms: Rooms) -> Render:
    """For the sender: each notification in the words of the dialect that the job came by."""
    known = {dialect.name: dialect.render_delivery for dialect in dialects}

    async def render(job: Job, delivery: Delivery) -> Rendered:
        words = known.get(delivery.callback.dialect)
        if words is None:
            raise LookupError(f"no dialect {delivery.callback.dialect!r} renders notifications")
        return await words(rooms, job, delivery)

    return render
