"""Links to results: signed, expiring, and good without credentials, so that they can be put into a web page.

Dialects ask for `Links.of`. Where pictures lie in a bucket these links lead there; else `http.files` serves them. The
name in a link of ours is the artifact's random id; a path is never taken from a caller.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from diffuserve.core import ports
from diffuserve.core.errors import ArtifactNotFound, LinkExpired
from diffuserve.core.job import Artifact

_ID = re.compile(r"[0-9a-f]{32}")
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

    async def of(self, artifacts: Sequence[Artifact], request_base: str) -> Callable[[Artifact], str]:
        """The absolute link of each of `artifacts`, for the sync code that renders them."""
        if self._storage is None:
            return lambda artifact: self.url(artifact, request_base)
        links = {one.id: await self._storage.link(one.blob_key, self._seconds) for one in artifacts}
        return lambda artifact: links[artifact.id]

    def url(self, artifact: Artifact, request_base: str) -> str:
        """A link to this server, on `public_url` or else on `request_base`, the address that the client used."""
        expires = str(int(self._clock.now()) + self._seconds)
        query = urlencode({"expires": expires, "signature": self._sign(artifact.id, expires)})
        return f"{(self._public_url or request_base).rstrip('/')}/files/{artifact.id}?{query}"

    def check(self, artifact_id: str, expires: str, signature: str) -> None:
        """Raises ArtifactNotFound for a link that we did not make, LinkExpired for one that is over."""
        if not _ID.fullmatch(artifact_id) or not _EXPIRES.fullmatch(expires) or not signature.isascii():
            raise ArtifactNotFound
        if not hmac.compare_digest(self._sign(artifact_id, expires), signature):
            raise ArtifactNotFound
        if int(expires) < self._clock.now():
            raise LinkExpired

    def remaining(self, expires: str) -> int:
        """Whole seconds for which a checked link still opens."""
        return max(0, int(expires) - int(self._clock.now()))

    def _sign(self, artifact_id: str, expires: str) -> str:
        return hmac.new(self._secret, f"file\n{artifact_id}\n{expires}".encode(), hashlib.sha256).hexdigest()
