"""What an engine says about a job, in order: `Started`, then `Progress`, `Preview` and `ArtifactReady` as they come, and
exactly one of `Finished` and `Failed` (a cancelled job ends in `Failed` with code 'canceled')."""

from __future__ import annotations

from dataclasses import dataclass, field

from diffuserve.core.job import JobError, Usage


@dataclass(frozen=True, slots=True)
class Started:
    """The first sample of the job was admitted to the step loop."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done and to do, summed over the job's pictures. `done` never goes back."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Preview:
    """A rough look at one unfinished picture: `pixels` is RGB, 8 bits, row after row, width * height * 3 bytes."""

    index: int
    step: int
    width: int
    height: int
    pixels: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ArtifactReady:
    """One finished drawing at canvas size; `pixels` as in `Preview`. Cropping, resizing, encoding come after the engine."""

    index: int
    seed: int
    width: int
    height: int
    pixels: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finished:
    usage: Usage
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    error: JobError


EngineEvent = Started | Progress | Preview | ArtifactReady | Finished | Failed
