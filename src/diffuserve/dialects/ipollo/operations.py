"""Every path of this family, as a table: what stands there, and what a task needs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

NAME = "ipollo"
MOUNT = "/ipollo"
"""Everything stands below this, too."""

TXT2IMG = ("/iPollo/stableDiffsionXL/txt2img", "/iPollo/stableDiffusionXL/txt2img")
"""As the vendor spells it, and as it is spelt."""
CHAT_TXT2IMG = "/iPollo/chatGPT/txt2img"
CHAT_TXT2VOICE = "/iPollo/chatGPT/txt2voice"


class Kind(Enum):
    """What kind of work a task is; the value is what people are told."""

    ACTING = "photos that act"
    DUBBING = "faces that speak a recording"
    SPEAKING = "faces that speak a text in a video"
    TALKING = "photos that speak a text"


LINKS = ("image_url", "video_url", "audio_url", "logo_url")
"""Parameters that name a source; one that is missing or unfit is code 202, any other is 200."""


@dataclass(frozen=True, slots=True)
class Task:
    """One path where tasks are submitted (POST) and asked for (GET)."""

    path: str
    kind: Kind
    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()
    """What may be there besides."""
    max_words: int | None = None
    """Of `text`."""


SAD_TALKER = "/iPollo/twinSync/sadTalker"

TASKS = {
    task.path: task
    for task in (
        Task("/iPollo/twinSync/photoacting", Kind.ACTING, ("image_url", "video_url")),
        Task("/iPollo/twinSync/videotalking", Kind.DUBBING, ("audio_url", "video_url")),
        Task("/iPollo/twinSync/videotalking_v3", Kind.SPEAKING, ("video_url", "text")),
        Task(SAD_TALKER, Kind.TALKING, ("image_url", "text"), ("pronouncer", "backGroundName", "logo_url")),
        Task("/videotalking", Kind.DUBBING, ("audio_url", "video_url")),
        Task("/phototalking", Kind.TALKING, ("image_url", "text"), ("pronouncer",), max_words=150),
    )
}


def vendor_path(path: str) -> str:
    """The path without our mount."""
    return path.removeprefix(MOUNT)
