"""Calls of the iPollo dialect: the vendor's own bodies, and plans that were bought with a wallet."""

from __future__ import annotations

import time
from typing import Any

from diffuserve.core.account import Plan, PlanUnit
from diffuserve.core.ports import AccountStore

TXT2IMG = "/iPollo/stableDiffsionXL/txt2img"
RIGHTLY_SPELT = "/iPollo/stableDiffusionXL/txt2img"
CHAT = "/iPollo/chatGPT/txt2img"
VOICE = "/iPollo/chatGPT/txt2voice"
ACTING = "/iPollo/twinSync/photoacting"
DUBBING = "/iPollo/twinSync/videotalking"
SPEAKING = "/iPollo/twinSync/videotalking_v3"
TALKING = "/iPollo/twinSync/sadTalker"
TWINSYNC = ("/videotalking", "/phototalking")
QUERIES = (ACTING, DUBBING, SPEAKING, TALKING, *TWINSYNC)

ADDRESS = "bc1pv0egqadxd60ae4r7v77gewpvjvsza09kccsxztzx8c8pqccn0rgqqw7np5"

SPEAKING_BODY = """{
  "video_url": "https://twinsync.oss-cn-hangzhou.aliyuncs.com/video/1683034663.mp4",
  "text": "大家好，我是一个虚拟人说话，哈哈！",
  "btc_address": "bc1pv0egqadxd60ae4r7v77gewpvjvsza09kccsxztzx8c8pqccn0rgqqw7np5"
}""".encode()
"""The sample of the vendor's page on talking videos, to the byte."""
ACTING_BODY = """{
    "image_url": "照片文件的云地址",
    "video_url": "视频文件的云地址",
    "btc_address": "BTC地址"
}""".encode()
"""That of the page on X-me, which says in words what its fields hold: no links."""
ACTING_FILLED = (
    ACTING_BODY.decode()
    .replace("照片文件的云地址", "https://example.com/face.jpg")
    .replace("视频文件的云地址", "https://example.com/role.mp4")
    .encode()
)

RECORD = (
    "id",
    "workspace_id",
    "key",
    "video_duration",
    "total_duration",
    "use_duration",
    "start_time",
    "end_time",
    "bench_mark",
    "note",
    "address",
    "email",
    "discord_uid",
    "tg_uid",
)
STATE = (
    "result_url",
    "result_code",
    "msg",
    "api_time_consume",
    "api_time_left",
    "video_w",
    "video_h",
    "gpu_type",
    "gpu_time_estimate",
    "gpu_time_use",
)
DAY = 86_400.0


def body(**fields: Any) -> dict[str, Any]:
    """A small picture's; fields that are None are left out."""
    good = {"prompt": "a girl in a garden", "btc_address": ADDRESS, "width": 64, "height": 64, "steps": 5}
    return {name: value for name, value in {**good, **fields}.items() if value is not None}


async def bought(
    accounts: AccountStore,
    amount: float,
    *,
    unit: PlanUnit = PlanUnit.SECONDS,
    wallet: str | None = ADDRESS,
    account: str = "shop",
    since: float = -1,
    days: float = 365,
    now: float | None = None,
) -> Plan:
    """A plan of `account`; `since` and `days` count from now."""
    now = time.time() if now is None else now
    plan = Plan(0, account, unit, amount, 0.0, 0.0, now + since * DAY, now + days * DAY, wallet)
    return await accounts.add_plan(plan)
