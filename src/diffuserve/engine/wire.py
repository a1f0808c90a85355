"""Messages as bytes on a socket: a length prefix, a JSON header, and a binary attachment (pixels, or the input pictures
of a request one after the other).

Never pickle: whoever could write into the socket could then run code in the server. Both ends are ours and of one
version, so the shapes are the dataclasses of `messages.py` themselves, checked by pydantic as at every other door.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import socket
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from diffuserve.core import events
from diffuserve.core.events import EngineEvent
from diffuserve.core.request import map_pictures, pictures
from diffuserve.engine import messages
from diffuserve.engine.messages import Command, Generate, JobEvent, Report

Message = Command | Report

PREFIX = struct.Struct("!IQ")
"""Bytes of the JSON header, then bytes of the attachment."""
MAX_HEADER = 8 * 2**20
"""Prompts are limited to some ten thousand characters, so a longer header is a mistake."""
MAX_ATTACHMENT = 512 * 2**20

_COMMANDS_AND_REPORTS: dict[str, type[Any]] = {
    "configure": messages.Configure,
    "generate": messages.Generate,
    "cancel": messages.Cancel,
    "shutdown": messages.Shutdown,
    "ready": messages.Ready,
    "load_failed": messages.LoadFailed,
    "counters": messages.Counters,
}
_EVENTS: dict[str, type[Any]] = {
    "started": events.Started,
    "progress": events.Progress,
    "preview": events.Preview,
    "artifact_ready": events.ArtifactReady,
    "finished": events.Finished,
    "failed": events.Failed,
}
_KINDS = {cls: kind for kind, cls in (_COMMANDS_AND_REPORTS | _EVENTS).items()}
_WITH_PIXELS = (events.Preview, events.ArtifactReady)


class WireError(Exception):
    """Bytes that are no frame, a frame that is too long, or a message that cannot be written."""


def encode(message: Message) -> tuple[bytes, bytes]:
    """The frame of `message`: prefix and header in one piece, and the attachment, which may be empty.

    Raises WireError for what cannot be written (a prompt with half a surrogate pair, a picture over the limit).
    """
    body: Message | EngineEvent = message
    attachment = b""
    head: dict[str, Any] = {}
    if isinstance(message, JobEvent):
        head["job_id"] = message.job_id
        body = message.event
    if isinstance(body, _WITH_PIXELS):
        attachment, body = body.pixels, dataclasses.replace(body, pixels=b"")
    elif isinstance(body, Generate):
        attached = [picture.data for picture in pictures(body.request)]
        head["pictures"] = [len(data) for data in attached]
        attachment = b"".join(attached)
        body = _with_data(body, itertools.repeat(b""))
    kind = _KINDS[type(body)]
    try:
        head |= {"kind": kind, "body": _adapter(kind).dump_python(body, mode="json")}
        header = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, TypeError) as error:
        raise WireError(f"a {kind} message cannot be sent: {error}") from None
    _check(len(header), len(attachment))
    return PREFIX.pack(len(header), len(attachment)) + header, attachment


def decode(header: bytes, attachment: bytes) -> Message:
    """The message of one frame. Raises WireError."""
    try:
        head = json.loads(header)
        kind, body = head["kind"], head["body"]
        if kind in _COMMANDS_AND_REPORTS:
            message: Message = _adapter(kind).validate_python(body)
            if isinstance(message, Generate):
                message = _with_data(message, _cut(attachment, head["pictures"]))
            return message
        event = _EVENTS[kind]
        if issubclass(event, _WITH_PIXELS):
            body["pixels"] = attachment
        return JobEvent(int(head["job_id"]), _adapter(kind).validate_python(body))
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise WireError(f"a frame that is no message: {error}") from None


def lengths(prefix: bytes) -> tuple[int, int]:
    """Bytes of header and attachment that follow. Raises WireError over the limits."""
    header, attachment = PREFIX.unpack(prefix)
    _check(header, attachment)
    return header, attachment


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """The next message of an asyncio stream; None at its end. Raises WireError."""
    try:
        header, attachment = lengths(await reader.readexactly(PREFIX.size))
        return decode(await reader.readexactly(header), await reader.readexactly(attachment))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


class Channel:
    """The blocking end, for the engine process. One thread may receive while another sends."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def receive(self) -> Message | None:
        """The next message; None when the other side is gone. Raises WireError."""
        prefix = self._exactly(PREFIX.size)
        if prefix is None:
            return None
        sizes = lengths(prefix)
        header, attachment = self._exactly(sizes[0]), self._exactly(sizes[1])
        if header is None or attachment is None:
            return None
        return decode(header, attachment)

    def send(self, message: Message) -> None:
        """Write one message. Raises OSError when the other side is gone, WireError for what cannot be written."""
        header, attachment = encode(message)
        self._connection.sendall(header)
        if attachment:
            self._connection.sendall(attachment)

    def _exactly(self, length: int) -> bytes | None:
        buffer = bytearray(length)
        view, filled = memoryview(buffer), 0
        while filled < length:
            try:
                count = self._connection.recv_into(view[filled:])
            except ConnectionError:
                return None
            if count == 0:
                return None
            filled += count
        return bytes(buffer)


def _with_data(message: Generate, data: Iterator[bytes]) -> Generate:
    """`message` with each picture's data taken from `data`, in their order."""
    request = map_pictures(message.request, lambda picture: dataclasses.replace(picture, data=next(data)))
    return dataclasses.replace(message, request=request)


def _cut(attachment: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    ends = list(itertools.accumulate(sizes))
    if (ends[-1] if ends else 0) != len(attachment):
        raise ValueError("the pictures are not as long as the header says")
    return iter([attachment[end - size : end] for end, size in zip(ends, sizes, strict=True)])


def _check(header: int, attachment: int) -> None:
    if header > MAX_HEADER or attachment > MAX_ATTACHMENT:
        raise WireError(f"a frame of {header} and {attachment} bytes is over the limit")


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter((_COMMANDS_AND_REPORTS | _EVENTS)[kind])
