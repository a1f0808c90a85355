"""Links to results: signed, expiring, and good without credentials, so that they can be put into a web page.

Dialects ask for `Links.of`. Where pictures lie in a bucket these links lead there; else `http.files` serves them. The
name in a link of ours is the artifact's random id; a path is never taken from a caller.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from diffuserve.core import ports
from diffuserve.core.errors import ArtifactNotFound, LinkExpired
from diffuserve.core.job import Artifact
from diffuserve.core.request import Corner, Watermark

_NAME = re.compile(
    r"[0-9a-f]{32}"  # an artifact's id
    r"|[0-9]{1,16}-[0-9]{1,3}"  # a job's id and which of its pictures
    r"|[0-9a-f]{64}"  # the SHA-256 of a picture that was sent here
)
_EXPIRES = re.compile(r"[0-9]{1,12}")


class Links:
    """Makes and checks links with one secret; whoever holds a link may open it until it expires."""

    def __init__(
        self,
        secret: bytes,
        seconds: int,
        clock: ports.Clock,
        public_url: str | None = None,
        storage: ports.Links | None = None,
    ) -> None:
        """`seconds` is how long a link opens; `public_url`, where set, is what our own links begin with; `storage` makes
        the links where the store of the pictures can."""
        self._secret = secret
        self._seconds = seconds
        self._clock = clock
        self._public_url = public_url
        self._storage = storage

    async def of(
        self,
        artifacts: Sequence[Artifact],
        request_base: str,
        *,
        seconds: int | None = None,
        watermark: Watermark | None = None,
    ) -> Callable[[Artifact], str]:
        """The absolute link of each of `artifacts`, for the sync code that renders them.

        `seconds` is in place of the server's own setting. What a link with a `watermark` leads to is marked by us when it
        is opened, wherever it lies.
        """
        if self._storage is None or watermark is not None:
            return lambda artifact: self.url(artifact, request_base, seconds=seconds, watermark=watermark)
        links = {one.id: await self._storage.link(one.blob_key, seconds or self._seconds) for one in artifacts}
        return lambda artifact: links[artifact.id]

    def url(
        self,
        artifact: Artifact,
        request_base: str,
        *,
        seconds: int | None = None,
        watermark: Watermark | None = None,
    ) -> str:
        """A link to this server, on `public_url` or else on `request_base`, the address that the client used."""
        mark = "" if watermark is None else _packed(watermark)
        extension = artifact.media_type.rpartition("/")[2]
        return self._named(artifact.id, extension, request_base, seconds or self._seconds, mark)

    def coming(self, job_id: int, index: int, extension: str, request_base: str, *, seconds: int | None = None) -> str:
        """A link to a picture that is not drawn yet; until it is, nothing is found there."""
        return self._named(f"{job_id}-{index}", extension, request_base, seconds or self._seconds)

    def sent(self, digest: str, request_base: str, *, seconds: int) -> str:
        """A link to a picture that was sent here (`JobService.keep`), by its SHA-256; it is a PNG."""
        return self._named(digest, "png", request_base, seconds)

    def base(self, request_base: str) -> str:
        """What every address of this server begins with, for a client that used `request_base`; no slash at its end."""
        return (self._public_url or request_base).rstrip("/")

    def _named(self, name: str, extension: str, request_base: str, seconds: int, mark: str = "") -> str:
        expires = str(int(self._clock.now()) + seconds)
        query = {"expires": expires, "signature": self._sign(name, expires, mark)}
        if mark:
            query["mark"] = mark
        # Players and chat bots go by the extension; we do not look at it.
        return f"{self.base(request_base)}/files/{name}.{extension}?{urlencode(query)}"

    def check(self, name: str, expires: str, signature: str, mark: str = "") -> None:
        """`name` is without the extension. Raises ArtifactNotFound for a link that we did not make, LinkExpired for one
        that is over."""
        if not _NAME.fullmatch(name) or not _EXPIRES.fullmatch(expires) or not signature.isascii():
            raise ArtifactNotFound
        if not mark.isascii() or not hmac.compare_digest(self._sign(name, expires, mark), signature):
            raise ArtifactNotFound
        if int(expires) < self._clock.now():
            raise LinkExpired

    def remaining(self, expires: str) -> int:
        """Whole seconds for which a checked link still opens."""
        return max(0, int(expires) - int(self._clock.now()))

    def _sign(self, name: str, expires: str, mark: str) -> str:
        signed = f"file\n{name}\n{expires}" + (f"\n{mark}" if mark else "")
        return hmac.new(self._secret, signed.encode(), hashlib.sha256).hexdigest()


def _packed(watermark: Watermark) -> str:
    fields = (watermark.text, watermark.position.value, watermark.opacity, watermark.size)
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode("ascii")


def unpacked(mark: str) -> Watermark:
    """The watermark of a link that `Links.check` has let pass."""
    text, position, opacity, size = json.loads(base64.urlsafe_b64decode(mark))
    return Watermark(text, Corner(position), opacity, size)
