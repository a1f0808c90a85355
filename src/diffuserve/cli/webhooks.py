"""`diffuserve webhooks`: the notifications that callers asked for, what became of them, and another try for lost ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffuserve.cli import options
from diffuserve.cli.books import with_books
from diffuserve.cli.show import table, when
from diffuserve.core.delivery import Delivery, DeliveryStatus
from diffuserve.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffuserve.wiring import Books

app = typer.Typer(help="Webhooks tell callers that their jobs ended.", no_args_is_help=True)


@app.command("list")
def list_deliveries(
    status: Annotated[DeliveryStatus | None, typer.Option(help="Only these.", show_default=False)] = None,
    job: Annotated[int | None, typer.Option(help="Only this job's.", show_default=False)] = None,
    config: options.Config = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """List notifications, with what went wrong at the last attempt."""

    async def look(books: Books) -> Sequence[Delivery]:
        return await books.deliveries.deliveries(job_id=job, status=status and status.value)

    found = with_books(config, data_dir, look)
    if as_json:
        options.print_json([_view(delivery) for delivery in found])
        return
    headings = ("notification", "job", "status", "attempts", "created", "next or delivered", "to", "last error")
    rows = [
        (
            delivery.id,
            str(delivery.job_id),
            delivery.status.value,
            str(delivery.attempts),
            when(delivery.created_at),
            when(delivery.delivered_at if delivery.delivered_at is not None else _next(delivery)),
            _shown(delivery),
            delivery.last_error or "",
        )
        for delivery in found
    ]
    for line in table(headings, rows):
        print(line)


@app.command("replay")
def replay(
    delivery: Annotated[str | None, typer.Argument(help="One notification's id (msg_...).", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that were given up.")] = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Send notifications again that were given up; a running server takes them up within seconds."""
    if (delivery is None) != everything:
        raise ConfigurationError("say which notification to replay: an id, or --all for all that were given up")

    async def again(books: Books) -> int:
        return await books.deliveries.replay(delivery, books.clock.now())

    count = with_books(config, data_dir, again)
    if delivery is not None and not count:
        raise ConfigurationError(f"no notification {delivery} was given up; `diffuserve webhooks list` shows them")
    print("1 notification is due again" if count == 1 else f"{count} notifications are due again")


@app.command("secret")
def secret(
    account: Annotated[str, typer.Option(help="Whose notifications it signs; `local` where nobody needs a key.")],
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Print the secret by which an account's receivers check signatures."""

    async def look(books: Books) -> str:
        from diffuserve.webhooks.sign import write_secret

        return write_secret(books.signing.of(account))

    print(with_books(config, data_dir, look))


def _next(delivery: Delivery) -> float | None:
    return delivery.next_at if delivery.status is DeliveryStatus.PENDING else None


def _shown(delivery: Delivery) -> str:
    """The address without its query, which may hold a password."""
    return delivery.callback.url.partition("#")[0].partition("?")[0]


def _view(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "job_id": str(delivery.job_id),
        "status": delivery.status.value,
        "url": _shown(delivery),
        "dialect": delivery.callback.dialect,
        "attempts": delivery.attempts,
        "created_at": when(delivery.created_at),
        "next_at": when(_next(delivery)) or None,
        "delivered_at": when(delivery.delivered_at) or None,
        "last_error": delivery.last_error,
    }
