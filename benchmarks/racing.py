"""Timing side by side: runners take turns, so that what drifts on the machine drifts for all of them, and medians are told.

Also the ceiling that steps are compared with: the best matrix product of this processor, measured in the same process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Runner = Callable[[], object]
Times = dict[str, list[float]]
"""Seconds by runner, in the order of the turns: those of one turn stand at the same place."""

SETTLING = 0.005
"""Seconds between two runners: the threads of one library spin for a while before they sleep, and would slow the next."""
SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096), (4096, 1280, 1280), (8192, 320, 2560))
"""Matrix products (m, k, n): square ones, and two of SD1.5's linear layers."""


def race(runners: Mapping[str, Runner], rounds: int, seconds: float, least: int = 2) -> Times:
    """Time every runner in each of `rounds` turns, each turn begun by another of them, after one that does not count.

    Ends earlier when `seconds` are over, but not before `least` turns.
    """
    names = list(runners)
    for name in names:
        _seconds(runners[name])
    times: Times = {name: [] for name in names}
    began = time.perf_counter()
    for turn in range(rounds):
        if turn >= least and time.perf_counter() - began > seconds:
            break
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(_seconds(runners[name]))
    return times


def median(times: Times, name: str, digits: int = 4) -> float:
    return round(statistics.median(times[name]), digits)


def ratio(times: Times, name: str, other: str) -> float:
    """The median over the turns of how much longer `name` took than `other` in the same turn."""
    return round(statistics.median(a / b for a, b in zip(times[name], times[other], strict=True)), 3)


def matrix_peak(dtype: torch.dtype, rounds: int = 6) -> float:
    """Operations a second (two for each multiplication and addition) of the best of `SHAPES` in its best round."""
    best = 0.0
    for m, k, n in SHAPES:
        left, right = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)
        for _ in range(rounds):
            best = max(best, 2 * m * k * n / _seconds(lambda left=left, right=right: left @ right, settle=False))
    return best


def _seconds(run: Runner, *, settle: bool = True) -> float:
    if settle:
        time.sleep(SETTLING)
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
