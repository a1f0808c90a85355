"""An engine process without torch, for tests of `engine.local` and `engine.process`: run as a script it serves a
socket.

It draws one grey picture per seed, one step a turn. Words in the prompt make it misbehave: `crash`, `silent` (never
ends), `fail`. `load:` words in the device setting do so at load: `load:refuse`, `load:bug`, `load:crash`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from diffuserve.core.errors import ConfigurationError
from diffuserve.core.events import ArtifactReady, EngineEvent, Failed, Finished, Progress, Started
from diffuserve.core.job import JobError, Usage
from diffuserve.core.request import ResolvedRequest
from diffuserve.engine.messages import Counters, EngineConfig
from diffuserve.engine.process import main


class StandInLoop:
    def __init__(self, config: EngineConfig, emit: Callable[[int, EngineEvent], None]) -> None:
        self._config = config
        self._emit = emit
        self._jobs: dict[int, tuple[ResolvedRequest, int]] = {}
        self._forwards = 0

    def load_default(self) -> tuple[str, str]:
        if self._config.device == "load:refuse":
            raise ConfigurationError("the model is made of cheese")
        if self._config.device == "load:bug":
            raise ValueError("off by one\nwith a second line")
        if self._config.device == "load:crash":
            os.kill(os.getpid(), signal.SIGKILL)
        return "cpu", "float32"

    def submit(self, job_id: int, request: ResolvedRequest, account: str = "", priority: int = 0) -> None:
        self._jobs[job_id] = (request, 0)
        self._emit(job_id, Started())

    def cancel(self, job_id: int) -> None:
        if self._jobs.pop(job_id, None):
            self._emit(job_id, Failed(JobError("canceled", "the job was canceled")))

    def step(self) -> bool:
        for job_id, (request, done) in list(self._jobs.items()):
            self._advance(job_id, request, done + 1)
        return any("silent" not in request.prompt for request, _ in self._jobs.values())

    def counters(self) -> Counters:
        return Counters(len(self._jobs), 0, self._forwards, self._forwards, 0.5)

    def _advance(self, job_id: int, request: ResolvedRequest, done: int) -> None:
        if "crash" in request.prompt:
            os.kill(os.getpid(), signal.SIGKILL)
        if "silent" in request.prompt:
            return
        self._forwards += 1
        self._jobs[job_id] = (request, done)
        self._emit(job_id, Progress(done, request.num_inference_steps))
        if "fail" in request.prompt:
            del self._jobs[job_id]
            self._emit(job_id, Failed(JobError("generation_failed", "told to")))
        elif done == request.num_inference_steps:
            del self._jobs[job_id]
            side = request.canvas
            data = request.init_image.data[:1] if request.init_image else bytes([request.seeds[0] % 256])
            pixels = data * (side.width * side.height * 3)
            self._emit(job_id, ArtifactReady(0, request.seeds[0], side.width, side.height, pixels))
            self._emit(job_id, Finished(Usage(images=1, steps=done)))


if __name__ == "__main__":
    main(StandInLoop)
