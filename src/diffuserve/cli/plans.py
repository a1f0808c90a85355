"""`diffuserve plans`: prepaid amounts. An account that has any draws on them, and on nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffuserve.cli import options
from diffuserve.cli.books import with_books
from diffuserve.cli.show import moment, number, table, when
from diffuserve.core.account import Plan, PlanUnit
from diffuserve.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffuserve.wiring import Books

app = typer.Typer(help="Plans are what an account has paid for: pictures or seconds, for a time.", no_args_is_help=True)


@app.command("create")
def create(
    account: Annotated[str, typer.Option(help="Who may use it up; the account is made if it is new.")],
    unit: Annotated[PlanUnit, typer.Option(help="What is counted.")],
    amount: Annotated[float, typer.Option(help="How many of it.")],
    until: Annotated[str, typer.Option(help="When it ends: a date, a time, or a span such as 30d from now. UTC.")],
    start: Annotated[str, typer.Option("--from", help="When it begins: a date, a time, or now. UTC.")] = "now",
    wallet: Annotated[
        str | None, typer.Option(help="The wallet address that it was bought with.", show_default=False)
    ] = None,
    config: options.Config = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Give an account a plan. From its first one on, the account's jobs draw on its plans or are refused."""
    if not 0 < amount <= 1e12:
        raise ConfigurationError(f"--amount must be over 0 and at most 1e12, got {amount:g}")
    if wallet is not None and not 1 <= len(wallet) <= 200:
        raise ConfigurationError("--wallet must have 1 to 200 characters")

    async def make(books: Books) -> Plan:
        from diffuserve.auth.keyring import check_account

        check_account(account)
        now = books.clock.now()
        begins, ends = moment("--from", start, now, ahead=True), moment("--until", until, now, ahead=True)
        if ends <= begins or ends <= now:
            raise ConfigurationError(f"--until must be later than --from and than now, got {when(ends)}")
        return await books.accounts.add_plan(
            Plan(
                id=0,
                account=account,
                unit=unit,
                amount=amount,
                used=0.0,
                reserved=0.0,
                valid_from=begins,
                valid_until=ends,
                wallet=wallet,
            )
        )

    _print([with_books(config, data_dir, make)], as_json, one=True)


@app.command("list")
def list_plans(
    account: Annotated[str | None, typer.Option(help="Only this account's.", show_default=False)] = None,
    wallet: Annotated[str | None, typer.Option(help="Only those bought with it.", show_default=False)] = None,
    config: options.Config = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """List plans, oldest first, with what is left of them."""

    async def look(books: Books) -> Sequence[Plan]:
        return await books.accounts.plans(account, wallet)

    _print(with_books(config, data_dir, look), as_json)


def _print(plans: Sequence[Plan], as_json: bool, *, one: bool = False) -> None:
    if as_json:
        views = [_view(plan) for plan in plans]
        options.print_json(views[0] if one else views)
        return
    headings = ("plan", "account", "unit", "amount", "used", "reserved", "left", "from", "until", "wallet")
    rows = [
        (
            str(plan.id),
            plan.account,
            plan.unit.value,
            number(plan.amount),
            number(plan.used),
            number(plan.reserved),
            number(plan.left),
            when(plan.valid_from),
            when(plan.valid_until),
            plan.wallet or "",
        )
        for plan in plans
    ]
    for line in table(headings, rows):
        print(line)


def _view(plan: Plan) -> dict[str, Any]:
    return {
        "id": plan.id,
        "account": plan.account,
        "unit": plan.unit.value,
        "amount": plan.amount,
        "used": plan.used,
        "reserved": plan.reserved,
        "left": plan.left,
        "valid_from": when(plan.valid_from),
        "valid_until": when(plan.valid_until),
        "wallet": plan.wallet,
    }
