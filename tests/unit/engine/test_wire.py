"""Messages survive the wire, and bytes that are no message are refused."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffuserve.core.events import ArtifactReady, Failed, Finished, Preview, Progress, Started
from diffuserve.core.job import JobError, Usage
from diffuserve.engine.messages import (
    Cancel,
    Configure,
    Counters,
    Generate,
    JobEvent,
    LoadFailed,
    Ready,
    Shutdown,
)
from diffuserve.engine.wire import (
    MAX_ATTACHMENT,
    MAX_HEADER,
    PREFIX,
    Channel,
    Message,
    WireError,
    decode,
    encode,
    lengths,
)
from support.engine import MODEL, config, picture, request

pytestmark = pytest.mark.unit

MESSAGES: list[Message] = [
    Configure(config()),
    Generate(1, request("红苹果 \N{RED APPLE}\0", seeds=(0, 2**64 - 1), eta=0.5, clip_skip=2)),
    Generate(2, request(init_image=picture(b"\x89PNG\0\xff"), strength=0.75)),
    Cancel(2**63 - 1),
    Shutdown(),
    Ready("cuda:0", "bfloat16"),
    LoadFailed("no such thing"),
    Counters(1, 2, 3, 4, 0.125),
    JobEvent(5, Started()),
    JobEvent(5, Progress(3, 20)),
    JobEvent(5, Preview(0, 3, 2, 1, b"\0\xff" * 3)),
    JobEvent(5, ArtifactReady(1, 2**64 - 1, 2, 1, b"abcdef")),
    JobEvent(5, Finished(Usage(1, 20, 64 * 64, 0.25), ("a note", "another"))),
    JobEvent(5, Failed(JobError("out_of_memory", "too large"))),
]


def through(message: Message) -> Message:
    frame, attachment = encode(message)
    header, size = lengths(frame[: PREFIX.size])
    assert (header, size) == (len(frame) - PREFIX.size, len(attachment))
    return decode(frame[PREFIX.size :], attachment)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(getattr(message, "event", message)).__name__)
def test_every_message_survives_the_wire(message: Message) -> None:
    assert through(message) == message


def test_the_bytes_of_an_input_picture_survive_although_they_do_not_count_in_equality() -> None:
    arrived = through(Generate(2, request(init_image=picture(b"\x89PNG\0\xff"))))
    assert isinstance(arrived, Generate)
    assert arrived.request.init_image is not None
    assert arrived.request.init_image.data == b"\x89PNG\0\xff"


def test_the_models_of_the_configuration_arrive_with_their_types() -> None:
    arrived = through(Configure(config()))
    assert isinstance(arrived, Configure)
    assert arrived.config.models == (MODEL,)
    assert arrived.config.models[0].family is MODEL.family


@given(prompt=st.text(max_size=50), seed=st.integers(0, 2**64 - 1), guidance=st.floats(0, 100))
def test_any_prompt_and_number_survives(prompt: str, seed: int, guidance: float) -> None:
    message = Generate(1, request(prompt, seeds=(seed,), guidance_scale=guidance))
    assert through(message) == message


def test_half_a_surrogate_pair_is_refused_by_the_sender() -> None:
    with pytest.raises(WireError):
        encode(Generate(1, request("\ud83c")))


@pytest.mark.parametrize("sizes", [(MAX_HEADER + 1, 0), (0, MAX_ATTACHMENT + 1)])
def test_a_frame_over_the_limit_is_refused_before_it_is_read(sizes: tuple[int, int]) -> None:
    with pytest.raises(WireError, match="over the limit"):
        lengths(PREFIX.pack(*sizes))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\x80\x04K\x01.",
        b"[]",
        b'"ready"',
        b'{"kind":"ready"}',
        b'{"kind":"os.system","body":{}}',
        b'{"kind":"ready","body":{"device":[]}}',
        b'{"kind":"progress","body":{"done":1,"total":2}}',
        json.dumps({"kind": "preview", "job_id": 1, "body": []}).encode(),
    ],
)
def test_a_header_that_is_no_message_is_refused(header: bytes) -> None:
    with pytest.raises(WireError):
        decode(header, b"")


def test_a_channel_says_none_when_the_other_side_is_gone() -> None:
    here, there = socket.socketpair()
    with here:
        there.close()
        assert Channel(here).receive() is None


def test_a_channel_says_none_when_the_other_side_goes_in_the_middle_of_a_frame() -> None:
    here, there = socket.socketpair()
    with here:
        there.sendall(encode(Ready("cpu", "float32"))[0][:-1])
        there.close()
        assert Channel(here).receive() is None


def test_two_channels_carry_messages_in_order() -> None:
    here, there = socket.socketpair()
    with here, there:
        for message in MESSAGES:
            Channel(here).send(message)
        assert [Channel(there).receive() for _ in MESSAGES] == MESSAGES
