"""What is loaded: checkpoints, ControlNets, adapters. Read beside running work, shared, let go when room is needed.

A thread reads files; everything else happens on the main thread, which asks (`ready`) before each turn and never waits. What
was used longest ago goes first when the budget is full, but nothing that somebody draws with.
"""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
import torch

from diffuserve.core.errors import DiffuserveError, GenerationFailed
from diffuserve.engine.diffusion.device import Device

log = structlog.get_logger(__name__)

GIB = 2**30
_HOST_SHARE, _CUDA_SHARE = 0.6, 0.85
"""Of all memory that there is, what models may take; the rest is for the work itself, and for others."""
HUNGER = 5.0
"""Seconds that a job waits for room before newcomers with other wishes are held back for it."""


@dataclass(frozen=True, slots=True)
class Volume:
    """Something that can be loaded."""

    name: str
    """Unique among all kinds: "model emoji-mini"."""
    paths: tuple[Path, ...]
    """The files and folders that it is read from, for an estimate of its size."""
    load: Callable[..., Any]
    """Reads it; runs on another thread. What it returns has `nbytes`, and perhaps `close`, for when it is let go."""
    of: str | None = None
    """The volume that it is made for, wanted by the same jobs: what that came to is given to `load`. They go together."""


@dataclass(slots=True, eq=False)
class _Place:
    volume: Volume
    loading: Future[Any] | None
    thing: Any = None
    error: DiffuserveError | None = None
    size: int = 0
    """Bytes that it will take, estimated; for as long as it is loaded."""
    used: int = 0
    """When it was last asked for, by a counter."""
    readers: set[int] = field(default_factory=set)
    """Jobs that draw with it, or will as soon as all that they want is there."""


class Shelf:
    """Holds at most `budget` bytes, but always what a single job needs."""

    def __init__(
        self,
        budget: int,
        expansion: float = 1.0,
        loaders: ThreadPoolExecutor | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`expansion`: bytes in memory for each byte on disk (2 for float16 files that are loaded as float32)."""
        self.budget = budget
        self._expansion = expansion
        self._monotonic = monotonic
        self._places: dict[str, _Place] = {}
        self._clock = 0
        self._hungry: dict[int, tuple[float, frozenset[str]]] = {}
        """Jobs that wait for room: since when, and what for; the longest waiting first."""
        # One at a time: two would only fight for the disk.
        self._loaders = loaders or ThreadPoolExecutor(1, thread_name_prefix="load")

    @property
    def loaded(self) -> dict[str, Any]:
        """Things by name, the least recently used first."""
        places = sorted(self._places.items(), key=lambda item: item[1].used)
        return {name: place.thing for name, place in places if place.thing is not None}

    @property
    def nbytes(self) -> int:
        """Of all that is loaded or being loaded."""
        return sum(place.size if place.thing is None else place.thing.nbytes for place in self._places.values())

    @property
    def loading(self) -> tuple[str, ...]:
        return tuple(name for name, place in self._places.items() if place.loading is not None)

    def ready(self, job_id: int, volumes: Sequence[Volume]) -> bool:
        """Whether all are loaded. What is not begins to load as soon as there is room for all of it at once; from then on
        everything stays until the job gives it back, so that no two jobs take from each other what they wait for.

        Raises what a loading raised, to each job that waited for it.
        """
        self._settle()
        self._clock += 1
        wanted = {volume.name: volume for volume in volumes}
        for place in self._present(wanted):
            place.used = self._clock
            if place.error is not None:
                raise place.error
        missing = [volume for name, volume in wanted.items() if name not in self._places]
        if self._held_back(job_id, wanted.keys()):
            return False
        if missing and not self._make_room(sum(map(self._estimate, missing)), needed=wanted.keys()):
            self._hungry.setdefault(job_id, (self._monotonic(), frozenset(wanted)))
            return False
        self._hungry.pop(job_id, None)
        for volume in missing:
            self._begin(volume)
        places = self._present(wanted)
        for place in places:
            place.readers.add(job_id)
        return all(place.thing is not None for place in places)

    def take(self, volumes: Sequence[Volume]) -> list[Any]:
        """The things of a job that is `ready`."""
        return [self._places[volume.name].thing for volume in volumes]

    def give_back(self, job_id: int) -> None:
        self._hungry.pop(job_id, None)
        for place in self._places.values():
            place.readers.discard(job_id)

    def load_now(self, volume: Volume) -> Any:
        """Read it on this thread, at start, when nobody draws. Raises what the loading raises."""
        thing = volume.load()
        self._places[volume.name] = _Place(volume, None, thing)
        return thing

    def wait(self, seconds: float) -> None:
        """Sleep until a loading ends, at most so long; for a thread that has nothing else to do."""
        wait([place.loading for place in self._places.values() if place.loading], seconds, FIRST_COMPLETED)

    def close(self) -> None:
        self._loaders.shutdown(wait=False, cancel_futures=True)

    def _held_back(self, job_id: int, wanted: Collection[str]) -> bool:
        """Whether somebody has waited for room so long that this newcomer, who would keep it taken, is not let in."""
        first = next(iter(self._hungry.items()), None)
        if first is None or first[0] == job_id or self._monotonic() - first[1][0] < HUNGER:
            return False
        return not first[1][1].issuperset(wanted) and not all(
            job_id in place.readers for place in self._present(wanted)
        )

    def _present(self, names: Iterable[str]) -> list[_Place]:
        return [self._places[name] for name in names if name in self._places]

    def _estimate(self, volume: Volume) -> int:
        return int(sum(map(_bytes_on_disk, volume.paths)) * self._expansion)

    def _begin(self, volume: Volume) -> None:
        log.info("loading", what=volume.name)
        loading = self._loaders.submit(volume.load if volume.of is None else self._made_for(volume.of, volume.load))
        self._places[volume.name] = _Place(volume, loading, size=self._estimate(volume), used=self._clock)

    def _made_for(self, name: str, load: Callable[[Any], Any]) -> Callable[[], Any]:
        """`load` with the thing of that name, which is there or was asked for before, so that its turn comes first."""
        place = self._places[name]
        loading, thing = place.loading, place.thing
        return lambda: load(thing if loading is None else loading.result())

    def _make_room(self, size: int, needed: Collection[str]) -> bool:
        """Let go of what is not in use until `size` more bytes fit; true where they do, or where nothing else is left."""
        let_go = False
        while self.nbytes + size > self.budget:
            idle = [
                (place.used, name)
                for name, place in self._places.items()
                if name not in needed and place.thing is not None and not place.readers
            ]
            if not idle:
                break
            self._let_go(min(idle)[1])
            let_go = True
        if let_go:
            release()
        # Else it is in use or being loaded by others, and is asked again. Alone, a job may take more than the budget.
        return self.nbytes + size <= self.budget or all(name in needed for name in self._places)

    def _let_go(self, name: str) -> None:
        """Nobody uses it; so nobody uses what was made for it, either."""
        log.info("letting go", what=name)
        for one in [name, *(other for other, place in self._places.items() if place.volume.of == name)]:
            close = getattr(self._places.pop(one).thing, "close", None)
            if close is not None:
                close()

    def _settle(self) -> None:
        for place in self._places.values():
            if place.loading is None or not place.loading.done():
                continue
            error = place.loading.exception()
            if error is None:
                place.thing = place.loading.result()
            else:
                log.error("could not be loaded", what=place.volume.name, error=str(error))
                # Where things lie is the operator's business, and stands in the log.
                hidden = GenerationFailed(f"{place.volume.name} could not be loaded; the server's log says why")
                place.error = error if isinstance(error, GenerationFailed) else hidden
                place.size = 0
            place.loading = None
        # When all who waited for it were told, the next job may find it mended.
        told = [name for name, place in self._places.items() if place.error is not None and not place.readers]
        for name in told:
            del self._places[name]


def budget(device: Device, gibibytes: float | None) -> int:
    """Bytes that models may take: what was asked for, or a share of the device's memory."""
    if gibibytes is not None:
        return int(gibibytes * GIB)
    if device.device.type == "cuda":
        return int(torch.cuda.mem_get_info(device.device)[1] * _CUDA_SHARE)
    return int(host_memory() * _HOST_SHARE)


def host_memory() -> int:
    """Bytes of the machine, or of the container where that has less."""
    limits = []
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(path).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        lines = []
    limits += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")]
    return min(limits, default=16 * GIB)


def release() -> None:
    """Give freed memory back to the system: Python's cycles, then the device's cache, then the allocator's."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    process = ctypes.CDLL(None)
    for name in ("MallocExtension_ReleaseFreeMemory", "malloc_trim"):
        function = getattr(process, name, None)
        if function is not None:
            function(0) if name == "malloc_trim" else function()


def _bytes_on_disk(path: Path) -> int:
    """0 where it cannot be told: then reading it will say why."""
    weights: dict[Path, list[int]] = {}
    try:
        if path.is_file():
            return path.stat().st_size
        for file in path.rglob("*.safetensors"):
            # Folders often hold every part twice, in full and in half precision: one of them is read.
            weights.setdefault(file.parent, []).append(file.stat().st_size)
    except OSError:
        return 0
    return sum(max(sizes) if len(sizes) <= 2 else sum(sizes) for sizes in weights.values())
