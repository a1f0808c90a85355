"""`diffuserve samplers`: every name that a request may write, and what runs for it."""

from __future__ import annotations


def samplers() -> None:
    """List the samplers and schedules, with the names that are replaced by others."""
    from rich.console import Console
    from rich.table import Table

    from diffuserve.core import samplers as known

    console = Console(highlight=False)
    table = Table("sampler", "id", "other names", "schedules", box=None, pad_edge=False)
    for sampler in known.SAMPLERS.values():
        fitting = [name for name in known.SCHEDULES if name in sampler.schedules]
        schedules = "all" if len(fitting) == len(known.SCHEDULES) else ", ".join(fitting)
        table.add_row(sampler.label, sampler.id, ", ".join(sampler.aliases), schedules)
    console.print(table)
    console.print(f"\nSchedules: {', '.join(known.SCHEDULES)}\n")
    replaced = Table("replaced", "runs as", "because", box=None, pad_edge=False)
    for substitute in known.substitutes():
        runs_as = " ".join(filter(None, (known.SAMPLERS[substitute.sampler].label, substitute.schedule)))
        replaced.add_row(substitute.label, runs_as, substitute.reason)
    console.print(replaced)
