"""`diffuserve accounts`: whoever pays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from diffuserve.cli import options
from diffuserve.cli.books import with_books
from diffuserve.cli.show import table, when

if TYPE_CHECKING:
    from diffuserve.core.account import Account
    from diffuserve.wiring import Books

app = typer.Typer(help="Accounts own keys and plans; jobs belong to them.", no_args_is_help=True)


@app.command("list")
def list_accounts(
    config: options.Config = None, data_dir: options.DataDir = None, as_json: options.Json = False
) -> None:
    """List all accounts, with how many valid keys they have."""

    async def look(books: Books) -> list[tuple[Account, int]]:
        owners = [key.account for key in await books.accounts.keys() if key.revoked_at is None]
        return [(account, owners.count(account.id)) for account in await books.accounts.accounts()]

    found = with_books(config, data_dir, look)
    if as_json:
        options.print_json(
            [{"id": one.id, "created_at": when(one.created_at), "valid_keys": keys} for one, keys in found]
        )
        return
    for line in table(("account", "created", "valid keys"), [(a.id, when(a.created_at), str(n)) for a, n in found]):
        print(line)


@app.command("create")
def create(
    account: Annotated[str, typer.Argument(help="A name: letters, digits, dots, underscores, hyphens.")],
    config: options.Config = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Make an account; one that is there already stays as it is. Keys and plans make theirs by themselves."""

    async def make(books: Books) -> Account:
        from diffuserve.auth.keyring import check_account

        check_account(account)
        return await books.accounts.add_account(account, books.clock.now())

    made = with_books(config, data_dir, make)
    if as_json:
        options.print_json({"id": made.id, "created_at": when(made.created_at)})
    else:
        print(made.id)
