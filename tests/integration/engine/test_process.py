"""How an engine process ends: when told, when left alone, and when it hears nonsense."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from diffuserve.core.errors import ConfigurationError
from diffuserve.core.events import Finished, Started
from diffuserve.engine import process
from diffuserve.engine.messages import Configure, Counters, Generate, JobEvent, LoadFailed, Ready, Shutdown
from diffuserve.engine.wire import PREFIX, Channel
from support.engine import STAND_IN, config, request

pytestmark = pytest.mark.integration


class Engine:
    """An engine process and our end of its socket."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [*STAND_IN, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        self.channel = Channel(self.socket)


@pytest.fixture
def engine() -> Iterator[Engine]:
    started = Engine()
    yield started
    started.socket.close()
    started.process.kill()
    started.process.communicate(timeout=30)


def test_it_ends_with_status_0_when_told_to(engine: Engine) -> None:
    engine.channel.send(Configure(config()))
    assert engine.channel.receive() == Ready("cpu", "float32")
    engine.channel.send(Shutdown())
    assert engine.process.wait(timeout=30) == 0


def test_it_ends_with_status_0_when_the_server_is_gone(engine: Engine) -> None:
    engine.channel.send(Configure(config()))
    engine.socket.close()
    assert engine.process.wait(timeout=30) == 0


def test_it_ends_with_status_1_when_it_hears_nonsense(engine: Engine) -> None:
    engine.socket.sendall(PREFIX.pack(2, 0) + b"{}")
    assert engine.process.wait(timeout=30) == 1


def test_it_says_why_it_cannot_load_and_ends(engine: Engine) -> None:
    engine.channel.send(Configure(config("load:refuse")))
    assert engine.channel.receive() == LoadFailed("the model is made of cheese")
    assert engine.process.wait(timeout=30) == 0


def test_it_counts_once_more_when_the_work_ends(engine: Engine) -> None:
    engine.channel.send(Configure(config()))
    assert engine.channel.receive() == Ready("cpu", "float32")
    engine.channel.send(Generate(5, request()))
    said = []
    while not isinstance(message := engine.channel.receive(), Counters):
        said.append(message)
    assert said[0] == JobEvent(5, Started())
    assert isinstance(said[-1], JobEvent)
    assert isinstance(said[-1].event, Finished)
    assert (message.running, message.forwards) == (0, 3)


def test_a_missing_library_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("diffuserve.engine.diffusion")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigurationError, match=r"needs torch: pip install 'diffuserve\[diffusion\]'.*--engine fake"):
        process._step_loop(config(), lambda job_id, event: None)
