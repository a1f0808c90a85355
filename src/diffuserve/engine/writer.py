"""The prompt writer: local language models in a process of their own, which translate and enhance prompts.

One process has both models and answers one question at a time, in JSON lines over a socket pair. It is started by the first
question, and started again by the next one if it died. `writing.py` is the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog

from diffuserve.core.errors import ConfigurationError, ServerFailure
from diffuserve.core.ports import Clock
from diffuserve.engine.messages import EngineConfig
from diffuserve.engine.spawn import Child, environment, exit_words, find_allocator, launch

COMMAND = (sys.executable, "-m", "diffuserve.engine.writing")
"""The descriptor of the socket is added as the last argument."""
READS = "zh"
"""The language that the local translation model reads."""
PATIENCE = 300.0
"""Seconds in which the process must answer, the loading of its models included; then it is taken for stuck."""
REST = 30.0
"""Seconds after the death of a process in which no other is started."""
_FAREWELL = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WriterConfig:
    """What the process must know: the first line that it reads."""

    translation: str | None = None
    """A folder with a Marian model that translates from Chinese to English."""
    enhancement: str | None = None
    """A folder with a causal language model."""
    instructions: str = ""
    """What an enhancement model that takes instructions is told; others go on from the prompt."""
    threads: int = 2

    def check(self) -> None:
        """Raises ConfigurationError for a folder that cannot be right and for missing libraries."""
        for setting, folder in (("translation_model", self.translation), ("enhancement_model", self.enhancement)):
            if folder is not None:
                _check_folder(setting, Path(folder))
        if importlib.util.find_spec("transformers") is None or importlib.util.find_spec("torch") is None:
            raise ConfigurationError(
                "local prompt models need torch and transformers: pip install 'diffuserve[diffusion]'"
            )


@dataclass(eq=False, slots=True)
class _Question:
    task: str
    text: str
    answer: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Writer:
    """Implements `ports.Translator` and `ports.Enhancer`. Questions wait for each other; who gives up is not asked for."""

    def __init__(
        self, config: WriterConfig, clock: Clock, command: Sequence[str] = COMMAND, *, patience: float = PATIENCE
    ) -> None:
        self._config = config
        self._clock = clock
        self._command = command
        self._patience = patience
        self._questions: asyncio.Queue[_Question] = asyncio.Queue()
        self._serving: asyncio.Task[None] | None = None
        self._child: Child | None = None
        self._rests_until = 0.0
        self._closed = False

    async def translate(self, text: str, source: str = "zh", target: str = "en") -> str:
        if (source, target) != (READS, "en"):
            raise ServerFailure(f"the local translation model does not translate from {source} to {target}")
        return await self._ask("translate", text)

    async def enhance(self, text: str) -> str:
        return await self._ask("enhance", text)

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._child.process.pid if self._child else None

    async def close(self) -> None:
        """Stop the process, and whoever waits for it."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.wait({self._serving})
        await self._bury()
        self._closed = True
        while not self._questions.empty():
            _fail(self._questions.get_nowait(), ServerFailure("the prompt writer was stopped"))

    async def _ask(self, task: str, text: str) -> str:
        if self._closed:
            raise ServerFailure("the prompt writer was stopped")
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve(), name="prompt writer")
        question = _Question(task, text)
        self._questions.put_nowait(question)
        return await question.answer

    async def _serve(self) -> None:
        """Take questions one by one, whatever becomes of each."""
        while True:
            question = await self._questions.get()
            if question.answer.done():
                continue
            try:
                answer = await self._answer(question)
            except asyncio.CancelledError:
                _fail(question, ServerFailure("the prompt writer was stopped"))
                raise
            except Exception as error:  # noqa: BLE001 - it is whoever asked who must know
                _fail(question, error)
            else:
                if not question.answer.done():
                    question.answer.set_result(answer)

    async def _answer(self, question: _Question) -> str:
        """What the process says. One that died while nobody asked is replaced once. Raises ServerFailure."""
        while True:
            inherited = self._child is not None
            child = self._child = self._child or await self._start()
            try:
                async with asyncio.timeout(self._patience):
                    reply = await _exchange(child, question)
            except TimeoutError:
                await self._bury()
                raise ServerFailure(f"the prompt writer did not answer within {self._patience:g} seconds") from None
            except (OSError, EOFError, ValueError):
                words = await self._bury()
                if inherited:
                    continue
                self._rests_until = self._clock.now() + REST
                raise ServerFailure(f"the prompt writer {words}") from None
            if "error" in reply:
                raise ServerFailure(reply["error"])
            return reply["text"]

    async def _start(self) -> Child:
        if self._clock.now() < self._rests_until:
            raise ServerFailure("the prompt writer died a moment ago")
        try:
            child = await launch(self._command, _environment(self._config.threads))
        except OSError as error:
            raise ServerFailure(f"the prompt writer could not be started: {error}") from None
        _say(child, asdict(self._config))
        return child

    async def _bury(self) -> str:
        """End the process, if there is one; returns how it ended."""
        if self._child is None:
            return "was not running"
        child, self._child = self._child, None
        child.writer.close()
        words = exit_words(await child.end(_FAREWELL))
        log.info("the prompt writer ended", how=words)
        return words


def _fail(question: _Question, error: Exception) -> None:
    if not question.answer.done():
        question.answer.set_exception(error)


async def _exchange(child: Child, question: _Question) -> dict[str, str]:
    """Ask and listen. Raises EOFError, OSError, or ValueError for what is no reply."""
    _say(child, {"task": question.task, "text": question.text})
    line = await child.reader.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    reply = json.loads(line)
    if not isinstance(reply, dict) or not isinstance(reply.get("error", reply.get("text")), str):
        raise ValueError("no reply")
    return reply


def _say(child: Child, message: Mapping[str, object]) -> None:
    child.writer.write(json.dumps(message).encode() + b"\n")


def _environment(threads: int) -> dict[str, str]:
    """As the engine's, but for the processor alone: the device is the engine's."""
    plain = EngineConfig(models=(), default_model="")
    return {
        **environment(plain, os.environ, find_allocator()),
        "OMP_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "",
    }


def _check_folder(setting: str, folder: Path) -> None:
    with contextlib.suppress(OSError):
        if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
            return
    raise ConfigurationError(
        f"{setting} must be a folder with config.json, a tokenizer and weights in .safetensors, got {folder}"
    )
