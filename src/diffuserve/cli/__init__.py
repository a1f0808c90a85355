"""The command line, one file per command. Everything heavy is imported inside the commands, so that help comes at
once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from diffuserve import __version__
from diffuserve.cli import accounts, db, doctor, generate, keys, models, plans, samplers, serve, usage, webhooks
from diffuserve.core.errors import ConfigurationError, DiffuserveError

app = typer.Typer(
    name="diffuserve",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Settings may also stand in diffuserve.toml or in DIFFUSERVE_* variables; flags win.",
)
app.command("serve")(serve.serve)
app.command("generate")(generate.generate)
app.add_typer(models.app, name="models")
app.command("samplers")(samplers.samplers)
app.add_typer(accounts.app, name="accounts")
app.add_typer(keys.app, name="keys")
app.add_typer(plans.app, name="plans")
app.command("usage")(usage.usage)
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(db.app, name="db")
app.command("doctor")(doctor.doctor)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 it did not work out, 2 asked or set up wrongly, 130 stopped by Ctrl-C."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="diffuserve")
    except ConfigurationError as error:
        _complain(error, code=2)
    except DiffuserveError as error:
        _complain(error, code=1)


def _complain(error: DiffuserveError, code: int) -> None:
    print(f"diffuserve: {error.message}", file=sys.stderr)
    raise SystemExit(code) from None


def _version(wanted: bool) -> None:
    if wanted:
        print(f"diffuserve {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A self-hosted Stable Diffusion server: one engine behind the HTTP APIs that applications already speak."""
