"""`ports.DeliveryStore` on SQL: the outbox. `ending.py` fills it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, func, select, tuple_, update

from diffuserve.core.delivery import Delivery, DeliveryStatus
from diffuserve.store import rows
from diffuserve.store.database import Database
from diffuserve.store.tables import deliveries

_PENDING, _DELIVERED, _DEAD = DeliveryStatus.PENDING.value, DeliveryStatus.DELIVERED.value, DeliveryStatus.DEAD.value

_pending = deliveries.c.status == _PENDING
_due = _pending & (deliveries.c.next_at <= bindparam("p_now"))
_earlier = deliveries.alias("earlier")
_first_of_its_job = ~exists().where(
    _earlier.c.job_id == deliveries.c.job_id,
    _earlier.c.status == _PENDING,
    tuple_(_earlier.c.created_at, _earlier.c.id) < tuple_(deliveries.c.created_at, deliveries.c.id),
)
_DUE = (
    select(deliveries.c.id)
    .where(_due, _first_of_its_job)
    .order_by(deliveries.c.next_at, deliveries.c.id)
    .limit(bindparam("p_limit"))
    .with_for_update(skip_locked=True, of=deliveries)
)
_HIDE = (
    update(deliveries)
    .where(deliveries.c.id.in_(bindparam("p_ids", expanding=True)), _due)
    .values(next_at=bindparam("p_hidden_until"))
    .returning(deliveries)
)
_attempted = update(deliveries).where(deliveries.c.id == bindparam("p_id"), _pending)
_attempted = _attempted.values(attempts=deliveries.c.attempts + 1)
_SENT = _attempted.values(status=_DELIVERED, delivered_at=bindparam("p_now"), last_error=None)
_POSTPONE = _attempted.values(next_at=bindparam("p_next_at"), last_error=bindparam("p_error"))
_BURY = _attempted.values(status=_DEAD, last_error=bindparam("p_error"))
_REPLAY = (
    update(deliveries)
    .where(deliveries.c.status == _DEAD)
    # With the whole span of time before it that a new one has.
    .values(status=_PENDING, created_at=bindparam("p_now"), next_at=bindparam("p_now"), attempts=0)
)
_ALL = select(deliveries).order_by(deliveries.c.created_at, deliveries.c.id)
_OLDEST_DUE = select(func.min(deliveries.c.next_at)).where(_pending)


class SqlDeliveryStore:
    """The notifications of one database. Every method raises StorageFailed where the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim_deliveries(self, limit: int, now: float, hidden_until: float) -> Sequence[Delivery]:
        """Those that have been due longest come first."""
        if limit < 1:
            return ()
        return await self._database.write(partial(_claim, limit=limit, now=now, hidden_until=hidden_until))

    async def delivered(self, delivery_id: str, now: float) -> None:
        await self._change(_SENT, p_id=delivery_id, p_now=now)

    async def postponed(self, delivery_id: str, error: str, next_at: float) -> None:
        await self._change(_POSTPONE, p_id=delivery_id, p_error=rows.plain(error), p_next_at=next_at)

    async def buried(self, delivery_id: str, error: str) -> None:
        await self._change(_BURY, p_id=delivery_id, p_error=rows.plain(error))

    async def replay(self, delivery_id: str | None, now: float) -> int:
        statement = _REPLAY if delivery_id is None else _REPLAY.where(deliveries.c.id == delivery_id)
        return await self._change(statement, p_now=now)

    async def deliveries(self, *, job_id: int | None = None, status: str | None = None) -> Sequence[Delivery]:
        statement = _ALL if job_id is None else _ALL.where(deliveries.c.job_id == job_id)
        if status is not None:
            statement = statement.where(deliveries.c.status == status)
        found = await self._database.read(lambda connection: connection.execute(statement).all())
        return [_row_to_delivery(row) for row in found]

    async def oldest_due(self) -> float | None:
        return await self._database.read(lambda connection: connection.execute(_OLDEST_DUE).scalar_one())

    async def _change(self, statement: Any, **values: Any) -> int:
        return await self._database.write(lambda connection: connection.execute(statement, values).rowcount)


def _claim(connection: Connection, limit: int, now: float, hidden_until: float) -> list[Delivery]:
    ids = list(connection.execute(_DUE, {"p_now": now, "p_limit": limit}).scalars())
    if not ids:
        return []
    hidden = connection.execute(_HIDE, {"p_ids": ids, "p_now": now, "p_hidden_until": hidden_until})
    order = {delivery_id: place for place, delivery_id in enumerate(ids)}
    return sorted((_row_to_delivery(row) for row in hidden), key=lambda delivery: order[delivery.id])


def _row_to_delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        job_id=row.job_id,
        callback=rows.text_to_callback(row.callback),
        status=DeliveryStatus(row.status),
        created_at=row.created_at,
        next_at=row.next_at,
        attempts=row.attempts,
        delivered_at=row.delivered_at,
        last_error=row.last_error,
    )
