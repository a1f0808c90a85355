"""Who pays, and the account record that tells them what is left.

A plan is bought with a wallet address (`diffuserve plans create --wallet`). On an open server an address is enough to draw
on the plans that were bought with it. On a closed one a key says whose account it is (`keys.py`), and an address only chooses
among the plans of that account.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request

from diffuserve.auth import bearer, tokens
from diffuserve.core.account import Plan, PlanUnit
from diffuserve.core.errors import InvalidParameter, MissingParameter, QuotaExhausted
from diffuserve.core.job import Job
from diffuserve.core.principal import ANONYMOUS, Principal
from diffuserve.dialects.base import Rooms
from diffuserve.dialects.bodies import Fields
from diffuserve.dialects.endpoint import principal
from diffuserve.dialects.ipollo.keys import ADDRESS
from diffuserve.dialects.ipollo.parse import text
from diffuserve.dialects.ipollo.tasks import ZONE
from diffuserve.dialects.ipollo.wire import Account, AccountRecord

MASKED = "ts-********"
MAX_ADDRESS = 200


@dataclass(frozen=True, slots=True)
class Payer:
    principal: Principal
    """Whose account the job belongs to."""
    wallet: str | None
    """Only plans that were bought with this address pay; None: any plan of the account, as in every dialect."""
    shown: str = ""
    """The address as the record repeats it."""


async def payer(rooms: Rooms, request: Request, fields: Fields) -> Payer:
    """Who pays for this call. The request belongs to that account from then on.

    Raises MissingParameter where an open server is told no address, InvalidParameter.
    """
    who = principal(request)
    address = _address(fields)
    if who != ANONYMOUS:
        wallet = address if address and await rooms.jobs.plans(who.account, address) else None
        return Payer(who, wallet, wallet or "")
    if not address:
        raise MissingParameter(ADDRESS)
    bought = await rooms.jobs.plans(wallet=address)
    if not bought:
        return Payer(who, None, "" if address.startswith(tokens.TOKEN_PREFIX) else address)
    # Whoever hangs up cancels the job, which is the owner's.
    request.state.principal = Principal(bought[0].account)
    return Payer(request.state.principal, address, address)


async def account(rooms: Rooms, payer: Payer, job: Job, bench_mark: str) -> Account:
    """The plan that paid for an ended job, as it stands now; without one, zeros and empty texts."""
    # Who named an address and showed no key learns of its plans, and of nobody's name.
    workspace = payer.principal.account if payer.principal.key_id is not None else ""
    plan, plans = await paid_by(rooms, job)
    if plan is None:
        return Account(result=[AccountRecord(workspace_id=workspace, address=payer.shown)])
    alike = [one for one in plans if (one.unit, one.wallet) == (plan.unit, plan.wallet)]
    record = AccountRecord(
        id=plan.id,
        workspace_id=workspace,
        key=MASKED,
        video_duration=int(plan.amount),
        total_duration=int(sum(one.amount for one in alike)),
        use_duration=math.ceil(plan.used),
        start_time=moment(plan.valid_from),
        end_time=moment(plan.valid_until),
        bench_mark=bench_mark,
        address=payer.shown,
    )
    return Account(result=[record])


async def paid_by(rooms: Rooms, job: Job) -> tuple[Plan | None, Sequence[Plan]]:
    """The plan that a job is charged to, and all plans of its account."""
    if job.charge is None:
        return None, ()
    plans = await rooms.jobs.plans(job.account)
    return next((plan for plan in plans if plan.id == job.charge.plan_id), None), plans


async def explained(rooms: Rooms, payer: Payer, refusal: QuotaExhausted) -> QuotaExhausted:
    """`refusal` in words that say what is wrong with the plans of an address: not begun, over, or used up."""
    if payer.wallet is None:
        return refusal
    now = rooms.clock.now()
    plans = await rooms.jobs.plans(payer.principal.account, payer.wallet)
    begun = [plan for plan in plans if plan.valid_from <= now]
    valid = [plan for plan in begun if plan.valid_until > now]
    if valid and all(plan.unit is PlanUnit.VIDEO_SECONDS for plan in valid):
        refusal.message = "the plan of this address pays for videos only"
    elif valid:
        left = f"{refusal.left:g} {refusal.unit} left"
        refusal.message = f"the plan of this address has {left} and this needs {refusal.needed:g}"
    elif begun:
        refusal.message = f"the plan of this address ended at {moment(max(plan.valid_until for plan in begun))} (UTC+8)"
    else:
        begins = moment(min(plan.valid_from for plan in plans))
        refusal.message = f"the plan of this address begins at {begins} (UTC+8)"
    return refusal


def moment(time: float) -> str:
    """Unix seconds as this API writes them: `YYYY-MM-DD HH:MM:SS`, UTC+8."""
    return f"{datetime.fromtimestamp(time, ZONE):%Y-%m-%d %H:%M:%S}"


def _address(fields: Fields) -> str:
    """`btc_address`, or else the older form's `key`."""
    for name in (ADDRESS, bearer.FIELD):
        address = text(fields, name).strip()
        if len(address) > MAX_ADDRESS or not address.isprintable():
            raise InvalidParameter(name, f"at most {MAX_ADDRESS} printable characters")
        if address:
            return address
    return ""
