"""The step loop: admit, pick, forward, advance, emit. One call of `step` is one turn, and nothing in it takes longer than
a forward pass and one encoding or decoding, so whoever arrives is looked at soon.

Not thread-safe, on purpose: the engine process calls everything here from its main thread.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import torch

from diffuserve.core.errors import (
    ConfigurationError,
    DiffuserveError,
    GenerationFailed,
    JobCanceled,
    OutOfMemory,
)
from diffuserve.core.events import ArtifactReady, EngineEvent, Failed, Finished, Preview, Progress, Started
from diffuserve.core.job import JobError, Usage
from diffuserve.core.request import Canvas, ResolvedRequest
from diffuserve.engine.diffusion import codec, device, models
from diffuserve.engine.diffusion.batcher import Batcher
from diffuserve.engine.diffusion.conditioning import Conditioner
from diffuserve.engine.diffusion.forward import Buckets, forward
from diffuserve.engine.diffusion.sample import Run, Sample, Ticket
from diffuserve.engine.memory import resident_bytes
from diffuserve.engine.messages import Counters, EngineConfig

MAX_RUNNING = 256
"""Samples held open at once; each holds little more than its latents and its prompt's embeddings."""
ADMIT_AT_ONCE = 4
"""Newcomers encoded in one turn, so that a burst of them does not hold up the others' steps."""
REPORT_SECONDS = 0.05
"""Progress of one job is told at most this often."""

Emit = Callable[[int, EngineEvent], None]


class StepLoop:
    """Draws any number of jobs at once, a step at a time. `emit(job_id, event)` hears everything."""

    def __init__(self, config: EngineConfig, emit: Emit, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigurationError for a device that is not there."""
        self._config = config
        self._emit = emit
        self._monotonic = monotonic
        self._device = device.choose(config.device, config.dtype, config.threads)
        self._models: dict[str, tuple[models.Model, Conditioner]] = {}
        self._batcher: Batcher[Ticket, Sample] = Batcher(config.max_batch, MAX_RUNNING)
        self._finished: deque[tuple[Sample, torch.Tensor]] = deque()
        self._runs: dict[int, Run] = {}
        self._buckets = _buckets(config)
        self._forwards = self._rows = 0
        self._step_seconds = 0.0

    def load_default(self) -> tuple[str, str]:
        """Load the default model; returns the device's and the dtype's names. Raises ConfigurationError."""
        with torch.inference_mode():
            model, conditioner = self._model(self._config.default_model)
            if self._config.compile:
                self._warm_up(model, conditioner)
        return self._device.label, self._device.dtype_label

    def submit(self, job_id: int, request: ResolvedRequest) -> None:
        """Take a job. Never raises: what is wrong with it is told by `Failed`."""
        run = Run(job_id, request, pictures_left=request.num_images)
        self._runs[job_id] = run
        for index in range(request.num_images):
            self._batcher.add(Ticket(run, index))

    def cancel(self, job_id: int) -> None:
        """Forget a job before its next step. Unknown ids are ignored."""
        if job_id in self._runs:
            self._fail(job_id, JobCanceled())

    @torch.inference_mode()
    def step(self) -> bool:
        """One turn. False when there is nothing left to do."""
        self._admit()
        group = self._batcher.pick()
        if group:
            self._advance(group, self._forward(group))
        # One decode a turn while others step, so that a job of many pictures does not stall them at its end.
        if self._finished:
            self._decode(*self._finished.popleft())
        return bool(self._runs)

    def counters(self) -> Counters:
        conditioners = [conditioner for _, conditioner in self._models.values()]
        return Counters(
            running=len(self._batcher.running),
            waiting=len(self._batcher.waiting),
            forwards=self._forwards,
            rows=self._rows,
            step_seconds=self._step_seconds,
            encodings=sum(conditioner.encodings for conditioner in conditioners),
            encoding_hits=sum(conditioner.hits for conditioner in conditioners),
            memory_bytes=resident_bytes(),
        )

    # One turn, in order.

    def _admit(self) -> None:
        for _ in range(ADMIT_AT_ONCE):
            if not self._batcher.can_admit():
                return
            ticket = self._batcher.waiting.popleft()
            try:
                with _Timer(self._monotonic) as timer:
                    sample = Sample(ticket, *self._model(ticket.run.request.model))
            except Exception as error:  # noqa: BLE001 - a bad job must not take the others down
                self._fail(ticket.job_id, _explain(error))
                continue
            self._batcher.admit(sample)
            self._begin(sample, timer.seconds)

    def _forward(self, group: list[Sample]) -> list[torch.Tensor | None]:
        """The group's predictions. When the shared pass fails, each sample is tried alone and only the guilty one fails."""
        model, _ = self._models[group[0].key.model]
        with _Timer(self._monotonic) as timer:
            try:
                predictions: list[torch.Tensor | None] = [*forward(model, group, self._buckets)]
            except Exception as error:  # noqa: BLE001
                predictions = self._one_by_one(model, group, error)
        self._forwards += 1
        self._rows += len(group)
        self._step_seconds += timer.seconds
        lanes = sum(sample.lanes for sample in group)
        for sample in group:
            sample.run.device_seconds += timer.seconds * sample.lanes / lanes
        return predictions

    def _one_by_one(self, model: models.Model, group: list[Sample], error: Exception) -> list[torch.Tensor | None]:
        if _is_out_of_memory(error) and len(group) > 1:
            self._batcher.max_lanes = max(2, sum(sample.lanes for sample in group) // 2)
        predictions: list[torch.Tensor | None] = []
        for sample in group:
            try:
                predictions += forward(model, [sample], self._buckets)
            except Exception as alone:  # noqa: BLE001
                self._fail(sample.job_id, _explain(alone))
                predictions.append(None)
        return predictions

    def _advance(self, group: list[Sample], predictions: list[torch.Tensor | None]) -> None:
        for sample, prediction in zip(group, predictions, strict=True):
            if prediction is None or sample.job_id not in self._runs:
                continue
            try:
                latents = sample.advance(prediction)
            except Exception as error:  # noqa: BLE001
                self._fail(sample.job_id, _explain(error))
                continue
            sample.run.steps_done += 1
            if latents is not None:
                self._batcher.leave(sample)
                self._finished.append((sample, latents))
            self._report(sample, unfinished=latents is None)

    def _decode(self, sample: Sample, latents: torch.Tensor) -> None:
        run = sample.run
        if run.job_id not in self._runs:  # it failed or was cancelled since
            return
        model, _ = self._models[sample.key.model]
        try:
            with _Timer(self._monotonic) as timer:
                pixels = codec.decode(model, latents)
        except Exception as error:  # noqa: BLE001
            self._fail(run.job_id, _explain(error))
            return
        run.device_seconds += timer.seconds
        run.pictures_left -= 1
        index = sample.ticket.index
        self._emit(run.job_id, ArtifactReady(index, run.request.seeds[index], pixels.width, pixels.height, pixels.data))
        if not run.pictures_left:
            self._finish(run)

    # What is told.

    def _begin(self, sample: Sample, seconds: float) -> None:
        run = sample.run
        run.device_seconds += seconds
        if not run.started:
            run.started = True
            run.steps_total = sample.total * run.request.num_images
            self._emit(run.job_id, Started())

    def _report(self, sample: Sample, *, unfinished: bool) -> None:
        run, now = sample.run, self._monotonic()
        if run.steps_done == run.steps_total or now - run.reported_at >= REPORT_SECONDS:
            run.reported_at = now
            self._emit(run.job_id, Progress(run.steps_done, run.steps_total))
        every = run.request.preview_every
        if every and unfinished and sample.done % every == 0:
            self._preview(sample)

    def _preview(self, sample: Sample) -> None:
        model, _ = self._models[sample.key.model]
        latents = sample.next.latents if sample.next.denoised is None else sample.next.denoised
        pixels = codec.preview(model, latents)
        self._emit(sample.job_id, Preview(sample.ticket.index, sample.done, pixels.width, pixels.height, pixels.data))

    def _finish(self, run: Run) -> None:
        del self._runs[run.job_id]
        canvas = run.request.canvas
        usage = Usage(
            images=run.request.num_images,
            steps=run.steps_done,
            pixels=canvas.width * canvas.height * run.request.num_images,
            device_seconds=run.device_seconds,
        )
        self._emit(run.job_id, Finished(usage))

    def _fail(self, job_id: int, error: DiffuserveError) -> None:
        if self._runs.pop(job_id, None) is None:
            return
        for sample in self._batcher.drop(job_id):
            sample.close()
        self._emit(job_id, Failed(JobError(error.code, error.message)))

    def _warm_up(self, model: models.Model, conditioner: Conditioner) -> None:
        """Compile the default size in every bucket now, so that no request has to wait for it."""
        info = model.info
        canvas = Canvas(info.size, info.size, info.size, info.size)
        request = ResolvedRequest("", "", info.name, info.size, info.size, canvas, (0,), 2, 2.0, "euler", "automatic")
        for rows in self._buckets.sizes:
            tickets = [Ticket(Run(0, request, 1), 0)] * max(1, rows // 2)
            forward(model, [Sample(ticket, model, conditioner) for ticket in tickets], self._buckets)

    def _model(self, name: str) -> tuple[models.Model, Conditioner]:
        """A loaded model; the first request for one that is not loaded yet waits for the disk, and so do the others."""
        if name not in self._models:
            info = next((info for info in self._config.models if info.name == name), None)
            if info is None:
                raise ConfigurationError(f"the engine was not told of a model {name}")
            model = models.load(info, self._device)
            if self._config.compile:
                model = models.compiled(model)
            self._models[name] = (model, Conditioner(model))
        return self._models[name]


class _Timer:
    """Seconds spent in its block."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.seconds = 0.0

    def __enter__(self) -> _Timer:
        self._began = self._monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = self._monotonic() - self._began


def _buckets(config: EngineConfig) -> Buckets:
    if config.reproducible:
        return Buckets((config.max_batch,))
    if config.compile:
        # Few shapes, since each costs a minute: one picture, four, and all that fit (two rows a picture).
        return Buckets((*(rows for rows in (2, 8) if rows < config.max_batch), config.max_batch))
    return Buckets()


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def _explain(error: Exception) -> DiffuserveError:
    """The error that the caller sees; ours stay as they are."""
    if isinstance(error, DiffuserveError) and not isinstance(error, ConfigurationError):
        return error
    if _is_out_of_memory(error):
        return OutOfMemory("the device has not enough memory for this picture; ask for a smaller one")
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return GenerationFailed(f"the picture could not be drawn: {reason}")
