"""`diffuserve usage`: the ledger, one line for each job that ended. Streamed: it may be longer than memory."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from diffuserve.cli import options
from diffuserve.cli.books import with_books
from diffuserve.cli.show import moment, number, when
from diffuserve.core.account import LedgerEntry

if TYPE_CHECKING:
    from diffuserve.wiring import Books


class Format(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"


_WIDTHS = {
    "finished_at": 20,
    "account": 12,
    "job_id": 19,
    "dialect": 8,
    "model": 12,
    "status": 9,
    "images": 6,
    "steps": 6,
    "device_seconds": 14,
    "charged": 7,
}
"""The table's columns; a longer value pushes the rest of its line to the right."""


def usage(
    account: Annotated[str | None, typer.Option(help="Only this account's.", show_default=False)] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Jobs that ended then or later: a date, a time, or a span such as 30d ago. UTC."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Jobs that ended before then. [default: now]")] = None,
    output: Annotated[Format, typer.Option("--format", help="csv and json have every field.")] = Format.TABLE,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """List the jobs that ended, with what they used and were charged; jobs that failed are charged nothing."""

    async def list_entries(books: Books) -> None:
        now = books.clock.now()
        begin = 0.0 if since is None else moment("--since", since, now)
        end = now if until is None else moment("--until", until, now)
        entries = books.accounts.usage(account, begin, end)
        printed = {Format.TABLE: _table, Format.CSV: _csv, Format.JSON: _json}[output](entries)
        async for line in printed:
            print(line)

    # Whoever reads on may have seen enough (`| head`).
    with suppress(BrokenPipeError):
        with_books(config, data_dir, list_entries)


def _fields(entry: LedgerEntry) -> dict[str, str | int | float | None]:
    """Every field of the entry, in its own order."""
    return {
        # A string, as in every dialect: JavaScript would round the number.
        "job_id": str(entry.job_id),
        "account": entry.account,
        "key_id": entry.key_id,
        "dialect": entry.dialect,
        "model": entry.model,
        "status": entry.status,
        "created_at": when(entry.created_at),
        "finished_at": when(entry.finished_at),
        "images": entry.images,
        "steps": entry.steps,
        "pixels": entry.pixels,
        "device_seconds": round(entry.device_seconds, 6),
        "plan_id": entry.plan_id,
        "charged": round(entry.charged, 6),
    }


async def _table(entries: AsyncIterator[LedgerEntry]) -> AsyncIterator[str]:
    yield _line({name: name.replace("_", " ").removesuffix(" at").replace("job id", "job") for name in _WIDTHS})
    jobs = images = 0
    seconds = 0.0
    async for entry in entries:
        yield _line({name: _cell(value) for name, value in _fields(entry).items()})
        jobs, images, seconds = jobs + 1, images + entry.images, seconds + entry.device_seconds
    yield f"\n{jobs} jobs, {images} pictures, {number(seconds) or '0'} device seconds"


async def _csv(entries: AsyncIterator[LedgerEntry]) -> AsyncIterator[str]:
    yield _csv_line(field.name for field in dataclasses.fields(LedgerEntry))
    async for entry in entries:
        yield _csv_line(_fields(entry).values())


async def _json(entries: AsyncIterator[LedgerEntry]) -> AsyncIterator[str]:
    """One array, an entry a line."""
    before = "["
    async for entry in entries:
        yield before + json.dumps(_fields(entry), ensure_ascii=False)
        before = ","
    yield "[]" if before == "[" else "]"


def _line(cells: dict[str, str]) -> str:
    return "  ".join(cells[name].ljust(width) for name, width in _WIDTHS.items()).rstrip()


def _cell(value: str | float | None) -> str:
    return value or "-" if isinstance(value, str | None) else number(value)


def _csv_line(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
