"""The step loop: admit, pick, forward, advance, emit. One call of `step` is one turn, and nothing in it takes longer than
a forward pass and one encoding or decoding, so whoever arrives is looked at soon.

Not thread-safe, on purpose: the engine process calls everything here from its main thread.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import structlog
import torch

from diffuserve.core.errors import ConfigurationError, DiffuserveError, GenerationFailed, JobCanceled, OutOfMemory
from diffuserve.core.events import ArtifactReady, EngineEvent, Failed, Finished, Preview, Progress, Started
from diffuserve.core.job import JobError, Usage
from diffuserve.core.request import Canvas, ResolvedRequest
from diffuserve.engine.diffusion import codec, device
from diffuserve.engine.diffusion.batcher import Batcher
from diffuserve.engine.diffusion.forward import Buckets, forward
from diffuserve.engine.diffusion.models import Model
from diffuserve.engine.diffusion.sample import Run, Sample, Ticket, Tools
from diffuserve.engine.diffusion.shelf import release
from diffuserve.engine.diffusion.toolbox import Toolbox
from diffuserve.engine.memory import resident_bytes
from diffuserve.engine.messages import Counters, EngineConfig

log = structlog.get_logger(__name__)

MAX_RUNNING = 64
"""Samples of one account held open at once; each holds little more than its latents and its prompt's embeddings."""
ADMIT_AT_ONCE = 4
"""Newcomers encoded in one turn, so that a burst of them does not hold up the others' steps."""
REPORT_SECONDS = 0.05
"""Progress of one job is told at most this often."""
LOADING_NAP = 0.02
"""Seconds that a turn waits for a file to be read where there is nothing else to do."""

Emit = Callable[[int, EngineEvent], None]


class StepLoop:
    """Draws any number of jobs at once, a step at a time. `emit(job_id, event)` hears everything."""

    def __init__(self, config: EngineConfig, emit: Emit, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigurationError for a device that is not there."""
        self._config = config
        self._emit = emit
        self._monotonic = monotonic
        self._device = device.choose(config.device, config.dtype, config.threads)
        self._toolbox = Toolbox(config, self._device)
        self._batcher: Batcher[Ticket, Sample] = Batcher(config.max_batch, MAX_RUNNING)
        self._finished: deque[tuple[Sample, torch.Tensor]] = deque()
        self._runs: dict[int, Run] = {}
        self._buckets = _buckets(config)
        self._forwards = self._rows = 0
        self._step_seconds = 0.0

    def load_default(self) -> tuple[str, str]:
        """Load the default model; returns the device's and the dtype's names. Raises ConfigurationError."""
        with torch.inference_mode():
            model = self._toolbox.load_default()
            if self._config.compile:
                self._warm_up(model)
        return self._device.label, self._device.dtype_label

    def submit(self, job_id: int, request: ResolvedRequest, account: str = "", priority: int = 0) -> None:
        """Take a job. Never raises: what is wrong with it is told by `Failed`."""
        run = Run(job_id, request, request.num_images, account, priority)
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
        elif not self._finished:
            self._toolbox.wait(LOADING_NAP)
        # One decode a turn while others step, so that a job of many pictures does not stall them at its end.
        if self._finished:
            self._decode(*self._finished.popleft())
        return bool(self._runs)

    def counters(self) -> Counters:
        conditioners = [model.conditioner for model in self._toolbox.models]
        return Counters(
            running=len(self._batcher.running),
            waiting=len(self._batcher.waiting),
            forwards=self._forwards,
            rows=self._rows,
            step_seconds=self._step_seconds,
            encodings=sum(conditioner.encodings for conditioner in conditioners),
            encoding_hits=sum(conditioner.hits for conditioner in conditioners),
            memory_bytes=resident_bytes(),
            models=tuple(model.info.name for model in self._toolbox.models),
            loading=self._toolbox.loading,
        )

    # One turn, in order.

    def _admit(self) -> None:
        self._toolbox.turn()
        for _ in range(ADMIT_AT_ONCE):
            ticket = self._batcher.next_ticket(lambda ticket: self._toolbox.ready(ticket.run))
            if ticket is None:
                return
            try:
                with _Timer(self._monotonic) as timer:
                    sample = Sample(ticket, self._toolbox.take(ticket.run))
            except Exception as error:  # noqa: BLE001 - a bad job must not take the others down
                self._fail(ticket.job_id, _explain(error))
                continue
            self._batcher.admit(sample)
            self._begin(sample, timer.seconds)

    def _forward(self, group: list[Sample]) -> list[torch.Tensor | None]:
        with _Timer(self._monotonic) as timer:
            predictions = self._predict(group)
        self._forwards += 1
        self._rows += len(group)
        self._step_seconds += timer.seconds
        lanes = sum(sample.lanes for sample in group)
        for sample in group:
            sample.run.device_seconds += timer.seconds * sample.lanes / lanes
        return predictions

    def _predict(self, group: list[Sample]) -> list[torch.Tensor | None]:
        """The group's predictions, None for samples that failed. When the shared pass fails, smaller ones are tried:
        half of it where memory ran out, each sample alone else, so that only the guilty one fails."""
        try:
            return _finite(forward(group[0].tools.model, group, self._buckets))
        except Exception as error:  # noqa: BLE001
            if len(group) == 1:
                self._fail(group[0].job_id, _explain(error))
                return [None]
            no_room = _is_out_of_memory(error)
        # Outside the handler, where the error no longer holds what the failed pass had made.
        if not no_room:
            return [prediction for sample in group for prediction in self._predict([sample])]
        release()
        half = len(group) // 2
        halves = (group[:half], group[half:])
        self._batcher.lower(group[0].key, max(sum(sample.lanes for sample in part) for part in halves))
        return [prediction for part in halves for prediction in self._predict(part)]

    def _advance(self, group: list[Sample], predictions: list[torch.Tensor | None]) -> None:
        for sample, prediction in zip(group, predictions, strict=True):
            if sample.job_id not in self._runs:
                continue
            if prediction is None:
                self._fail(sample.job_id, codec.not_numbers("step"))
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
        try:
            with _Timer(self._monotonic) as timer:
                pixels = codec.decode(sample.tools.model, latents)
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
        model = sample.tools.model
        shown = (
            sample.next.latents[:, : model.latent_channels] if sample.next.denoised is None else sample.next.denoised
        )
        try:
            pixels = codec.preview(model, shown)
        except Exception as error:  # noqa: BLE001 - unfinished latents need not make a picture
            log.warning("no preview", job=sample.job_id, error=str(error))
            return
        self._emit(sample.job_id, Preview(sample.ticket.index, sample.done, pixels.width, pixels.height, pixels.data))

    def _finish(self, run: Run) -> None:
        del self._runs[run.job_id]
        self._toolbox.give_back(run)
        canvas = run.request.canvas
        usage = Usage(
            images=run.request.num_images,
            steps=run.steps_done,
            pixels=canvas.width * canvas.height * run.request.num_images,
            device_seconds=run.device_seconds,
        )
        self._emit(run.job_id, Finished(usage))

    def _fail(self, job_id: int, error: DiffuserveError) -> None:
        run = self._runs.pop(job_id, None)
        if run is None:
            return
        for sample in self._batcher.drop(job_id):
            sample.close()
        self._finished = deque(pair for pair in self._finished if pair[0].job_id != job_id)
        self._toolbox.give_back(run)
        self._emit(job_id, Failed(JobError(error.code, error.message)))

    def _warm_up(self, model: Model) -> None:
        """Compile the default size in every bucket now, so that no request has to wait for it."""
        info = model.info
        canvas = Canvas(info.size, info.size, info.size, info.size)
        request = ResolvedRequest("", "", info.name, info.size, info.size, canvas, (0,), 2, 2.0, "euler", "automatic")
        for rows in self._buckets.sizes:
            tickets = [Ticket(Run(0, request, 1), 0)] * max(1, rows // 2)
            forward(model, [Sample(ticket, Tools(model)) for ticket in tickets], self._buckets)


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


def _finite(predictions: list[torch.Tensor]) -> list[torch.Tensor | None]:
    """None for those that hold a value that is no number: their sum is none either, and one answer tells of all."""
    finite = torch.stack([prediction.sum() for prediction in predictions]).isfinite().tolist()
    return [prediction if fine else None for prediction, fine in zip(predictions, finite, strict=True)]


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
