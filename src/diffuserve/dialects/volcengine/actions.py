"""The actions: what a call's `Action` and `Version` mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from diffuserve.dialects.volcengine.errors import GATEWAY, Refusal

OLD, NEW = "2022-08-31", "2024-06-06"


class Kind(Enum):
    DRAW = auto()
    """Answer with the picture."""
    SUBMIT = auto()
    """Answer with a task's id."""
    QUERY = auto()
    CANCEL = auto()


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    version: str
    kind: Kind
    stylise: bool = False
    """The newer API: needs no prompt, and wraps its answer."""


ACTIONS = {
    (action.name, action.version): action
    for action in (
        Action("CVProcess", OLD, Kind.DRAW),
        Action("Img2ImgCreatePastelBoys2D", OLD, Kind.DRAW),
        Action("CVSync2AsyncSubmitTask", OLD, Kind.SUBMIT),
        Action("CVSubmitTask", OLD, Kind.SUBMIT),
        Action("CVSync2AsyncGetResult", OLD, Kind.QUERY),
        Action("CVGetResult", OLD, Kind.QUERY),
        Action("CVCancelTask", NEW, Kind.CANCEL),
        Action("AIGCStylizeImage", NEW, Kind.DRAW, stylise=True),
        Action("AIGCStylizeImageUsage", NEW, Kind.DRAW, stylise=True),
    )
}


def find(name: str, version: str) -> Action:
    """Raises Refusal."""
    for param, value in (("Action", name), ("Version", version)):
        if not value:
            raise Refusal(GATEWAY["MissingParameter"], fill=(param,))
    action = ACTIONS.get((name, version))
    if action is None:
        raise Refusal(GATEWAY["InvalidActionOrVersion"], fill=(name[:100], version[:100]))
    return action
