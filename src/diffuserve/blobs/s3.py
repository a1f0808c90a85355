"""Blobs in a bucket of any service that speaks S3: AWS, Tencent COS, Aliyun OSS, Volcengine TOS, Cloudflare R2, MinIO.

One object is one request, so an object is there whole or not at all, and a link is only asked for what was stored.
"""

from __future__ import annotations

import mimetypes
import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import quote, urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from diffuserve.blobs.keys import checked
from diffuserve.blobs.objects import ObjectBlobs
from diffuserve.core.errors import ConfigurationError

LONGEST_PRESIGNED = 7 * 86400
"""Seconds; no service accepts a signature that is older."""

# A try of ours is at most this long, and the jobs room tries again by itself: else an outage would hold a job for minutes.
_RETRIES = 2
_RETRY_SECONDS = timedelta(seconds=15)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(milliseconds=100), timedelta(seconds=2)
_CONNECT_TIMEOUT, _TIMEOUT = timedelta(seconds=5), timedelta(seconds=60)

_PREFIX = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where it is and who we are there."""

    name: str
    endpoint: str | None = None
    """None is AWS."""
    region: str = "auto"
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    prefix: str = ""
    """Put before every key."""
    path_style: bool = False
    public_base_url: str | None = None
    link_seconds: int = LONGEST_PRESIGNED
    """The longest that a link will be asked to open."""

    def __post_init__(self) -> None:
        """Raises ConfigurationError for what cannot be meant."""
        if not self.name:
            raise ConfigurationError('storage "s3" needs s3_bucket')
        if not self.access_key or not self.secret_key:
            raise ConfigurationError('storage "s3" needs s3_access_key and s3_secret_key')
        if self.endpoint is None and self.region == "auto":
            raise ConfigurationError(
                "s3_region must be given for AWS, for example eu-west-1; or s3_endpoint for others"
            )
        if self.endpoint is not None and not _is_origin(self.endpoint):
            raise ConfigurationError("s3_endpoint must be an address such as https://cos.ap-guangzhou.myqcloud.com")
        if self.public_base_url is None and self.link_seconds > LONGEST_PRESIGNED:
            raise ConfigurationError(
                f"link_seconds may be at most {LONGEST_PRESIGNED} (7 days) where links are presigned; "
                "set it lower, or set s3_public_base_url"
            )
        if not _PREFIX.fullmatch(self.folder):
            raise ConfigurationError("s3_prefix may hold letters, digits, '-', '_', '.' and '/' between names")

    @property
    def folder(self) -> str:
        """The prefix as it stands before a key: empty, or with a slash at its end."""
        names = self.prefix.strip("/")
        return f"{names}/" if names else ""

    @property
    def address(self) -> str | None:
        """What obstore wants as the endpoint: the bucket belongs to the host unless it is part of the path."""
        if self.endpoint is None or self.path_style:
            return self.endpoint
        parts = urlsplit(self.endpoint)
        # Some services show the address with the bucket in it.
        host = parts.netloc if parts.netloc.startswith(f"{self.name}.") else f"{self.name}.{parts.netloc}"
        return f"{parts.scheme}://{host}"


class S3Blobs(ObjectBlobs):
    """`ports.BlobStore` and `ports.Links` over one bucket. Call `probe` before the first use."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._s3 = _opened(bucket)
        super().__init__(self._s3)

    def path(self, key: str) -> str:
        return self._bucket.folder + checked(key)

    def attributes(self, key: str) -> obstore.Attributes:
        """A link leads to the object itself: it must tell browsers what it is, and its name when it is saved."""
        name = key.rpartition("/")[2]
        media_type = mimetypes.guess_type(name, strict=False)[0] or "application/octet-stream"
        return {"Content-Type": media_type, "Content-Disposition": f'inline; filename="{name}"'}

    async def link(self, key: str, seconds: int) -> str:
        """A public link where there is a base URL, which never ends; else one that opens for `seconds`."""
        if self._bucket.public_base_url is not None:
            return f"{self._bucket.public_base_url.rstrip('/')}/{quote(self.path(key))}"
        signed: str = await obstore.sign_async(self._s3, "GET", self.path(key), timedelta(seconds=seconds))
        return signed

    async def probe(self) -> None:
        """Write, read and delete a small object. Raises ConfigurationError with the reason in one sentence."""
        path, content = f"{self._bucket.folder}probe/{secrets.token_hex(8)}", secrets.token_bytes(16)
        doing = "written to"
        try:
            await obstore.put_async(self._s3, path, content, use_multipart=False)
            doing = "read"
            found = await obstore.get_async(self._s3, path)
            if bytes(await found.bytes_async()) != content:
                raise ConfigurationError(f"the bucket {self._bucket.name} gives back other bytes than were stored")
            doing = "deleted from"
            await obstore.delete_async(self._s3, path)
        except (BaseError, OSError) as error:
            where = self._bucket.address or "AWS"
            raise ConfigurationError(
                f"the bucket {self._bucket.name} at {where} cannot be {doing}: {_reason(error)}"
            ) from None


def _opened(bucket: Bucket) -> S3Store:
    config: dict[str, object] = {} if bucket.address is None else {"endpoint": bucket.address}
    try:
        return S3Store(
            bucket.name,
            region=bucket.region,
            access_key_id=bucket.access_key,
            secret_access_key=bucket.secret_key,
            virtual_hosted_style_request=not bucket.path_style,
            client_options={
                "allow_http": (bucket.endpoint or "").startswith("http://"),
                "connect_timeout": _CONNECT_TIMEOUT,
                "timeout": _TIMEOUT,
            },
            retry_config={
                "max_retries": _RETRIES,
                "retry_timeout": _RETRY_SECONDS,
                "backoff": {"init_backoff": _FIRST_PAUSE, "max_backoff": _LONGEST_PAUSE, "base": 2},
            },
            **config,  # type: ignore[arg-type]
        )
    except (BaseError, ValueError) as error:
        raise ConfigurationError(f"the bucket {bucket.name} cannot be used: {_first_line(error)}") from None


def _is_origin(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.netloc) and parts.path in ("", "/") and not parts.query


def _reason(error: Exception) -> str:
    """What the service said, as a person would; its own XML is for machines."""
    said = _CODE.search(str(error))
    code = f" ({said[1]})" if said else ""
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return f"access is denied{code}; check s3_access_key, s3_secret_key, s3_region and the bucket's policy"
    if isinstance(error, FileNotFoundError):
        return f"there is no such bucket{code}"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
