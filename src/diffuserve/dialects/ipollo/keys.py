"""Who asks, on a closed server: a key of ours, an address that the operator made a key, or a task's id for that task.

An address is public, so by itself it opens nothing. Where callers can show nothing else, the operator registers it
(`diffuserve keys create --token ADDRESS --scope dialect:ipollo`), and answers for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from diffuserve.auth import Gate, bearer, tokens
from diffuserve.core.account import Key, KeyType
from diffuserve.core.errors import MalformedBody, Unauthenticated, UnsupportedMediaType
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.bodies import read_fields
from diffuserve.dialects.endpoint import Identify
from diffuserve.dialects.ipollo import tasks
from diffuserve.dialects.ipollo.operations import NAME

ADDRESS = "btc_address"
TASK_IDS = ("taskID", "task_id", "taskId")
_TASK_KEY = "task"


async def read_values(request: Request) -> Mapping[str, Any]:
    """The call's fields: of the body, or of the query where there is none.

    Raises UnsupportedMediaType, MalformedBody, PayloadTooLarge.
    """
    return await read_fields(request) if request.method == "POST" else request.query_params


def asked_task(request: Request) -> str:
    """The task that a query names; empty where it names none."""
    return next((request.query_params[name] for name in TASK_IDS if request.query_params.get(name)), "")


def identify(rooms: Rooms) -> Identify:
    """A header counts before the field `key`, that before `btc_address`, and a task id where nothing else is shown."""

    async def find(request: Request, gate: Gate) -> Key:
        try:
            values = await read_values(request)
        except (MalformedBody, UnsupportedMediaType):
            # Whoever has not shown a key is told so, and not what is wrong with the rest.
            values = {}
        token = bearer.in_headers(request.headers) or bearer.in_fields(values)
        if token is not None:
            return await gate.by_token(token)
        address = values.get(ADDRESS)
        if isinstance(address, str) and address.strip() and not address.startswith(tokens.TOKEN_PREFIX):
            return await _by_address(gate, address.strip())
        if request.method != "POST" and asked_task(request):
            return await _by_task(rooms, request)
        return await gate.by_token(None)

    return find


async def _by_address(gate: Gate, address: str) -> Key:
    try:
        return await gate.by_token(address)
    except Unauthenticated:
        # The same for every address, whether or not something was bought with it.
        raise Unauthenticated(
            "a key is required: btc_address is none here; send the header Authorization: Bearer YOUR_KEY"
        ) from None


async def _by_task(rooms: Rooms, request: Request) -> Key:
    """Stands for the submitter, at the one endpoint that shows a task by its id. Raises JobNotFound."""
    job = await tasks.find(rooms, asked_task(request))
    request.state.task = job
    return Key(
        id=_TASK_KEY,
        account=job.account,
        type=KeyType.BEARER,
        created_at=job.created_at,
        scopes=frozenset({f"dialect:{NAME}"}),
    )
