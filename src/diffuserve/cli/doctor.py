"""`diffuserve doctor`: looks at what a server needs and says how to mend what is wrong. Read `checks.py` next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffuserve.cli import options


def doctor(
    config: options.Config = None,
    data_dir: Annotated[Path | None, typer.Option(help="The data folder to look at.", show_default=False)] = None,
    model: options.Model = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Check Python, libraries, devices, memory, disk and model files. Exits 1 if something must be mended."""
    import json
    from dataclasses import asdict

    from rich.console import Console

    from diffuserve.cli.checks import Level, examine

    findings = examine(config, data_dir, model)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        console = Console(highlight=False, soft_wrap=True)
        colours = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
        for finding in findings:
            console.print(f"[{colours[finding.level]}]{finding.level:<5}[/]", end="")
            console.print(f"{finding.what:<13} {finding.found}", markup=False)
            if finding.mend:
                console.print(f"{'':<18} {finding.mend}", markup=False, style="dim")
    raise typer.Exit(1 if any(finding.level is Level.FAIL for finding in findings) else 0)
