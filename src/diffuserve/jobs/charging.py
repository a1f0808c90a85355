"""What a job may be charged to: the plans of its account that are valid and have enough left for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from diffuserve.core.account import Charge, Plan, PlanUnit
from diffuserve.core.errors import QuotaExhausted
from diffuserve.core.ports import AccountStore, EngineStatus
from diffuserve.core.request import ResolvedRequest

_UNKNOWN_STEP_SECONDS = 1.0


class Charging:
    def __init__(self, accounts: AccountStore, status: Callable[[], EngineStatus]) -> None:
        """`status` says how long a step takes, for plans that count seconds."""
        self._accounts = accounts
        self._status = status

    async def charges(
        self, account: str, request: ResolvedRequest, now: float, wallet: str | None = None
    ) -> Sequence[Charge | None]:
        """Whatever the job could be charged to, best first: what expires first is used up first.

        Only None for an account without plans, which is not metered. With a `wallet`, only plans that were bought with it
        pay. Raises QuotaExhausted.
        """
        plans = await self._accounts.plans(account, wallet)
        if not plans and wallet is None:
            return (None,)
        valid = [plan for plan in plans if plan.valid_from <= now < plan.valid_until]
        valid.sort(key=lambda plan: (plan.valid_until, plan.id))
        priced = [(plan, price) for plan in valid if (price := self._price(plan.unit, request)) is not None]
        enough = [Charge(plan.id, plan.unit, price) for plan, price in priced if plan.left >= price]
        if not enough:
            raise _nothing_left(priced, request)
        return enough

    def _price(self, unit: PlanUnit, request: ResolvedRequest) -> float | None:
        """What `request` sets aside, in `unit`; None where it cannot be paid in it."""
        if unit is PlanUnit.IMAGES:
            return float(request.num_images)
        if unit in (PlanUnit.DEVICE_SECONDS, PlanUnit.SECONDS):
            steps = request.num_inference_steps * request.num_images
            seconds = float(math.ceil(steps * self._step_seconds()))
            return max(1.0, seconds) if unit is PlanUnit.SECONDS else seconds
        return None  # pictures have no length

    def _step_seconds(self) -> float:
        status = self._status()
        return status.step_seconds / status.rows if status.rows else _UNKNOWN_STEP_SECONDS


def _nothing_left(priced: Sequence[tuple[Plan, float]], request: ResolvedRequest) -> QuotaExhausted:
    """Names the plan that has the most left: no job can draw on two."""
    if not priced:
        return QuotaExhausted(PlanUnit.IMAGES.value, float(request.num_images), 0.0)
    plan, price = max(priced, key=lambda one: one[0].left / max(one[1], 1.0))
    return QuotaExhausted(plan.unit.value, price, plan.left)
