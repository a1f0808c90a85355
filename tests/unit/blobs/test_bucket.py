"""What a bucket's settings may be, and where they lead."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from diffuserve.blobs import Bucket, S3Blobs
from diffuserve.core.errors import ConfigurationError

pytestmark = pytest.mark.unit

COS = "https://cos.ap-guangzhou.myqcloud.com"


def bucket(name: str = "pictures", **changes: Any) -> Bucket:
    values = {"endpoint": COS, "access_key": "AK", "secret_key": "the-secret", **changes}
    return Bucket(name, **values)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "needs s3_bucket"),
        ({"access_key": ""}, "needs s3_access_key and s3_secret_key"),
        ({"secret_key": ""}, "needs s3_access_key and s3_secret_key"),
        ({"endpoint": None}, "s3_region must be given for AWS"),
        ({"endpoint": "cos.example.com"}, "s3_endpoint must be an address"),
        ({"endpoint": "https://example.com/bucket"}, "s3_endpoint must be an address"),
        ({"prefix": "../other"}, "s3_prefix may hold"),
        ({"prefix": "a//b"}, "s3_prefix may hold"),
        ({"link_seconds": 7 * 86400 + 1}, "link_seconds may be at most 604800"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        bucket(**changes)
    assert words in caught.value.message


def test_public_links_may_be_asked_to_last_longer_than_signatures_can() -> None:
    assert bucket(link_seconds=30 * 86400, public_base_url="https://cdn.example.org")


def test_the_secret_is_in_no_representation() -> None:
    assert "the-secret" not in repr(bucket())
    assert "the-secret" not in repr(vars(S3Blobs(bucket())))


@pytest.mark.parametrize(
    ("changes", "begin"),
    [
        ({}, "https://pictures.cos.ap-guangzhou.myqcloud.com/a.png"),
        ({"path_style": True}, "https://cos.ap-guangzhou.myqcloud.com/pictures/a.png"),
        (
            {"endpoint": "https://pictures.cos.ap-guangzhou.myqcloud.com"},
            "https://pictures.cos.ap-guangzhou.myqcloud.com/a.png",
        ),
        ({"endpoint": None, "region": "eu-west-1"}, "https://pictures.s3.eu-west-1.amazonaws.com/a.png"),
        ({"prefix": "/team/one/"}, "https://pictures.cos.ap-guangzhou.myqcloud.com/team/one/a.png"),
    ],
)
async def test_links_lead_where_the_settings_say(changes: dict[str, Any], begin: str) -> None:
    link = urlsplit(await S3Blobs(bucket(**changes)).link("a.png", 60))
    assert f"{link.scheme}://{link.netloc}{link.path}" == begin
    assert "X-Amz-Expires=60" in link.query
