"""How a job ends: one transaction that also settles what it charged, writes it on the bill and posts its notification.

Whoever changes the job's status has the row, and does the rest; nobody else does any of it. Rows are always locked in the
order job, plan, so that two servers that end jobs of one plan wait for each other and never in a circle.
"""

from __future__ import annotations

import math
import secrets
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, insert, select, update

from diffuserve.core.account import Charge, PlanUnit
from diffuserve.core.delivery import DeliveryStatus
from diffuserve.core.job import JobStatus, Usage
from diffuserve.core.ports import Outcome
from diffuserve.store import rows
from diffuserve.store.tables import artifacts, deliveries, jobs, ledger, plans

# Names with a leading "p_": SQLAlchemy keeps the bare column names for the values of an UPDATE.
_this_job = jobs.c.id == bindparam("p_id")
_held = (jobs.c.status == JobStatus.RUNNING.value) & (jobs.c.owner == bindparam("p_owner"))
_nobodys: dict[str, Any] = {"owner": None, "lease_until": None}
_billed = (
    jobs.c.id,
    jobs.c.account,
    jobs.c.key_id,
    jobs.c.dialect,
    jobs.c.model,
    jobs.c.status,
    jobs.c.created_at,
    jobs.c.finished_at,
    jobs.c.callback,
    jobs.c.charge_plan_id,
    jobs.c.charge_unit,
    jobs.c.charge_amount,
)

_ADD_ARTIFACTS = insert(artifacts)
_NOTES_OF_HELD = select(jobs.c.notes).where(_held, _this_job).with_for_update()
_FINISH = (
    update(jobs)
    .where(_held, _this_job)
    .values(
        status=bindparam("p_status"),
        finished_at=bindparam("p_now"),
        usage=bindparam("p_usage"),
        error_code=bindparam("p_error_code"),
        error_message=bindparam("p_error_message"),
        **_nobodys,
    )
    .returning(*_billed)
)
_FINISH_WITH_NOTES = _FINISH.values(notes=bindparam("p_notes"))
_CANCEL = (
    update(jobs)
    .where(_this_job, jobs.c.status.in_([JobStatus.QUEUED.value, JobStatus.RUNNING.value]))
    .values(status=JobStatus.CANCELED.value, finished_at=bindparam("p_now"), **_nobodys)
    .returning(*_billed)
)
_returned = plans.c.reserved - bindparam("p_reserved")
_SETTLE = (
    update(plans)
    .where(plans.c.id == bindparam("p_plan"))
    # Sums of fractions may come out a hair below nothing.
    .values(reserved=case((_returned > 0, _returned), else_=0.0), used=plans.c.used + bindparam("p_used"))
)
_BILL = insert(ledger)
_POST = insert(deliveries)


def finish(connection: Connection, owner: str, job_id: int, outcome: Outcome, now: float) -> bool:
    held = {"p_owner": owner, "p_id": job_id}
    ending: dict[str, Any] = {
        **held,
        "p_status": outcome.status.value,
        "p_now": now,
        "p_usage": rows.usage_to_text(outcome.usage),
        "p_error_code": outcome.error.code if outcome.error else None,
        "p_error_message": rows.plain(outcome.error.message) if outcome.error else None,
    }
    statement = _FINISH
    if outcome.notes:
        before = connection.execute(_NOTES_OF_HELD, held).scalar_one_or_none()
        if before is None:
            return False
        statement = _FINISH_WITH_NOTES
        ending["p_notes"] = rows.notes_to_text(rows.text_to_notes(before) + outcome.notes)
    ended = connection.execute(statement, ending).one_or_none()
    if ended is None:
        return False
    if outcome.artifacts:
        connection.execute(_ADD_ARTIFACTS, [rows.artifact_to_row(job_id, made) for made in outcome.artifacts])
    _close_account(connection, ended, outcome.usage)
    return True


def cancel(connection: Connection, job_id: int, now: float) -> None:
    """Nothing happens to a job that has ended, and to one that is not there."""
    ended = connection.execute(_CANCEL, {"p_id": job_id, "p_now": now}).one_or_none()
    if ended is not None:
        _close_account(connection, ended, Usage())


def _close_account(connection: Connection, ended: Row[Any], usage: Usage) -> None:
    charge = rows.row_to_charge(ended)
    used = 0.0
    if charge is not None:
        used = _due(charge, usage) if ended.status == JobStatus.SUCCEEDED.value else 0.0
        connection.execute(_SETTLE, {"p_plan": charge.plan_id, "p_reserved": charge.amount, "p_used": used})
    entry = {
        "job_id": ended.id,
        "account": ended.account,
        "key_id": ended.key_id,
        "dialect": ended.dialect,
        "model": ended.model,
        "status": ended.status,
        "created_at": ended.created_at,
        "finished_at": ended.finished_at,
        "images": usage.images,
        "steps": usage.steps,
        "pixels": usage.pixels,
        "device_seconds": usage.device_seconds,
        "plan_id": charge.plan_id if charge else None,
        "charged": used,
    }
    connection.execute(_BILL, entry)
    if ended.callback is not None:
        connection.execute(_POST, _notification(ended))


def _due(charge: Charge, usage: Usage) -> float:
    """What a job that succeeded really used, never more than it set aside."""
    if charge.unit is PlanUnit.IMAGES:
        return min(charge.amount, float(usage.images))
    if charge.unit is PlanUnit.DEVICE_SECONDS:
        return min(charge.amount, usage.device_seconds)
    if charge.unit is PlanUnit.SECONDS:
        return min(charge.amount, max(1.0, float(math.ceil(usage.device_seconds))))
    return charge.amount


def _notification(ended: Row[Any]) -> dict[str, Any]:
    return {
        "id": f"msg_{secrets.token_hex(16)}",
        "job_id": ended.id,
        "callback": ended.callback,
        "status": DeliveryStatus.PENDING.value,
        "created_at": ended.finished_at,
        "next_at": ended.finished_at,
        "attempts": 0,
        "delivered_at": None,
        "last_error": None,
    }
