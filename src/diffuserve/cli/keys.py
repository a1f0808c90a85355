"""`diffuserve keys`: what callers show. A secret is printed once, when it is made."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffuserve.cli import options
from diffuserve.cli.books import with_books
from diffuserve.cli.show import number, table, when
from diffuserve.core.account import Key, KeyLimits, KeyType, NewKey
from diffuserve.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffuserve.wiring import Books

app = typer.Typer(
    help="Keys let callers in. With the first one, the server asks everybody for one.", no_args_is_help=True
)


@app.command("create")
def create(
    account: Annotated[str, typer.Option(help="Who it belongs to; the account is made if it is new.")],
    kind: Annotated[
        KeyType, typer.Option("--type", help="bearer: one token. pair: an access key and a secret key that signs.")
    ] = KeyType.BEARER,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="dialect:NAME, model:NAME or admin; may be repeated. Without any of a kind, all of it is allowed; "
            "admin (metrics) must be given.",
            show_default=False,
        ),
    ] = None,
    rps: Annotated[
        float | None, typer.Option(help="Requests per second; 0.5 is one in two seconds.", show_default=False)
    ] = None,
    per_day: Annotated[int | None, typer.Option(help="Requests per day, UTC.", show_default=False)] = None,
    concurrent: Annotated[
        int | None, typer.Option(help="Jobs that may be queued or running at once.", show_default=False)
    ] = None,
    priority: Annotated[int, typer.Option(help="-100..100; jobs of higher ones are drawn first.")] = 0,
    token: Annotated[
        str | None,
        typer.Option(
            help="A text that becomes the key, such as a wallet address; needs --scope dialect:NAME. Whoever knows it has "
            "the key. Without it, the key is random.",
            show_default=False,
        ),
    ] = None,
    config: options.Config = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Make a key and print its secret, this one time."""
    scopes = frozenset(scope or ())

    async def make(books: Books) -> tuple[NewKey, bool]:
        _check_dialects(scopes, books)
        first = not await books.accounts.has_keys()
        limits = KeyLimits(requests_per_second=rps, requests_per_day=per_day, concurrent_jobs=concurrent)
        made = await books.keys.create(account, kind, scopes=scopes, limits=limits, priority=priority, token=token)
        return made, first

    made, first = with_books(config, data_dir, make)
    _print_new(made, as_json)
    if first and not as_json:
        print("\nThis is the first key: from now on the server asks everybody for one.", file=sys.stderr)


@app.command("list")
def list_keys(
    account: Annotated[str | None, typer.Option(help="Only this account's.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Revoked ones, too.")] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """List keys, newest first, without their secrets."""

    async def look(books: Books) -> Sequence[Key]:
        return await books.accounts.keys(account)

    keys = [key for key in with_books(config, data_dir, look) if everything or key.revoked_at is None]
    if as_json:
        options.print_json([_view(key) for key in keys])
        return
    headings = ("key", "account", "type", "access key", "scopes", "limits", "priority", "created", "revoked")
    rows = [
        (
            key.id,
            key.account,
            key.type.value,
            key.access_key or "",
            ",".join(sorted(key.scopes)),
            _limits(key.limits),
            str(key.priority),
            when(key.created_at),
            when(key.revoked_at),
        )
        for key in keys
    ]
    for line in table(headings, rows):
        print(line)


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="From `diffuserve keys list`.")],
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Make a key invalid, within two seconds on a running server. Jobs that it submitted go on."""

    async def withdraw(books: Books) -> bool:
        await books.keys.revoke(key_id)
        return await books.accounts.has_keys()

    any_left = with_books(config, data_dir, withdraw)
    print(f"revoked {key_id}")
    if not any_left:
        print("No key is left: a server that listens on this machine only is open again.", file=sys.stderr)


@app.command("rotate")
def rotate(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="From `diffuserve keys list`.")],
    config: options.Config = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Make a new key with the same settings, print its secret, and revoke the old one."""

    async def replace(books: Books) -> NewKey:
        return await books.keys.rotate(key_id)

    _print_new(with_books(config, data_dir, replace), as_json)


def _print_new(made: NewKey, as_json: bool) -> None:
    key = made.key
    secrets = (
        {"access_key": key.access_key, "secret_key": made.secret}
        if key.type is KeyType.PAIR
        else {"token": made.secret}
    )
    if as_json:
        options.print_json({"id": key.id, "account": key.account, **secrets})
        return
    for name, value in {"id": key.id, "account": key.account, **secrets}.items():
        print(f"{name.replace('_', ' '):<11} {value}")
    print("\nKeep the secret now: it is not shown again.", file=sys.stderr)


def _view(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "account": key.account,
        "type": key.type.value,
        "access_key": key.access_key,
        "scopes": sorted(key.scopes),
        "requests_per_second": key.limits.requests_per_second,
        "requests_per_day": key.limits.requests_per_day,
        "concurrent_jobs": key.limits.concurrent_jobs,
        "priority": key.priority,
        "created_at": when(key.created_at),
        "revoked_at": when(key.revoked_at) or None,
    }


def _limits(limits: KeyLimits) -> str:
    parts = {
        "/s": limits.requests_per_second,
        "/day": limits.requests_per_day,
        " jobs": limits.concurrent_jobs,
    }
    return ", ".join(f"{number(value)}{unit}" for unit, value in parts.items() if value is not None)


def _check_dialects(scopes: frozenset[str], books: Books) -> None:
    """A misspelt dialect would make a key that opens nothing."""
    for scope in sorted(scopes):
        kind, _, name = scope.partition(":")
        if kind == "dialect" and name not in books.dialects:
            raise ConfigurationError(f"no such dialect: {name}; there are {', '.join(books.dialects)}")
