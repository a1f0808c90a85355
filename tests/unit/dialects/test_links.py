"""Signed links."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from diffuserve.core.errors import ArtifactNotFound, LinkExpired
from diffuserve.core.job import Artifact
from diffuserve.core.request import Corner, Watermark
from diffuserve.dialects.links import Links, unpacked
from support.app import HeldClock

pytestmark = pytest.mark.unit

ID = "0123456789abcdef" * 2
ARTIFACT = Artifact(ID, 0, "artifacts/x.png", "image/png", 1, 8, 8, 7, "0" * 64)


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock(1000.0)


def parts(url: str) -> tuple[str, str]:
    query = parse_qs(urlsplit(url).query)
    return query["expires"][0], query["signature"][0]


def test_a_link_stands_on_the_address_that_the_client_used(clock: HeldClock) -> None:
    url = Links(b"s", 60, clock).url(ARTIFACT, "http://10.0.0.5:8000/")
    assert url.startswith(f"http://10.0.0.5:8000/files/{ID}.png?expires=1060&signature=")


def test_a_public_url_comes_first(clock: HeldClock) -> None:
    url = Links(b"s", 60, clock, "https://draw.example.org/sd/").url(ARTIFACT, "http://10.0.0.5:8000")
    assert url.startswith(f"https://draw.example.org/sd/files/{ID}.png?")


def test_a_link_of_ours_opens_until_it_expires(clock: HeldClock) -> None:
    links = Links(b"s", 60, clock)
    expires, signature = parts(links.url(ARTIFACT, "http://h"))
    links.check(ID, expires, signature)
    assert links.remaining(expires) == 60
    clock.set(1060.0)
    links.check(ID, expires, signature)
    clock.set(1060.5)
    with pytest.raises(LinkExpired):
        links.check(ID, expires, signature)


def test_a_link_that_was_changed_leads_nowhere(clock: HeldClock) -> None:
    links = Links(b"s", 60, clock)
    expires, signature = parts(links.url(ARTIFACT, "http://h"))
    forged = parts(Links(b"other", 60, clock).url(ARTIFACT, "http://h"))[1]
    for artifact_id, until, sign in (
        ("f" * 32, expires, signature),
        (ID, "9999", signature),
        (ID, expires, signature[:-1]),
        (ID, expires, ""),
        (ID, expires, "é"),
        (ID, expires, forged),
        (ID, "٣", signature),
        (ID, "", signature),
        ("../../etc/passwd", expires, signature),
        (ID.upper(), expires, signature),
    ):
        with pytest.raises(ArtifactNotFound):
            links.check(artifact_id, until, sign)


class Bucket:
    async def link(self, key: str, seconds: int) -> str:
        return f"https://bucket.example.org/{key}?for={seconds}"


async def test_where_pictures_lie_in_a_bucket_links_lead_there(clock: HeldClock) -> None:
    url = await Links(b"s", 60, clock, "https://draw.example.org", storage=Bucket()).of([ARTIFACT], "http://h")
    assert url(ARTIFACT) == "https://bucket.example.org/artifacts/x.png?for=60"


async def test_where_pictures_lie_on_the_disk_links_lead_to_this_server(clock: HeldClock) -> None:
    links = Links(b"s", 60, clock)
    assert (await links.of([ARTIFACT], "http://h"))(ARTIFACT) == links.url(ARTIFACT, "http://h")


async def test_a_link_may_live_for_another_time_wherever_it_leads(clock: HeldClock) -> None:
    ours = await Links(b"s", 60, clock).of([ARTIFACT], "http://h", seconds=90)
    assert parts(ours(ARTIFACT))[0] == "1090"
    theirs = await Links(b"s", 60, clock, storage=Bucket()).of([ARTIFACT], "http://h", seconds=90)
    assert theirs(ARTIFACT).endswith("?for=90")


async def test_a_watermark_in_a_link_is_signed_and_laid_over_by_this_server(clock: HeldClock) -> None:
    mark = Watermark("AI生成", Corner.TOP_LEFT, 0.5, 0.1)
    links = Links(b"s", 60, clock, storage=Bucket())
    url = (await links.of([ARTIFACT], "http://h", watermark=mark))(ARTIFACT)
    assert url.startswith(f"http://h/files/{ID}")
    packed = parse_qs(urlsplit(url).query)["mark"][0]
    links.check(ID, *parts(url), packed)
    assert unpacked(packed) == mark
    for forged in ("", packed + "A", "é"):
        with pytest.raises(ArtifactNotFound):
            links.check(ID, *parts(url), forged)
