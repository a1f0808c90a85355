"""The OAuth token endpoint, in every form that its clients use: GET or POST, parameters in the query or in a form."""

from __future__ import annotations

import base64
import secrets

from starlette.requests import Request
from starlette.responses import Response

from diffuserve.auth.access_tokens import LIFETIME, AccessTokens
from diffuserve.core.errors import InvalidParameter
from diffuserve.dialects.endpoint import principal
from diffuserve.dialects.qianfan.keys import asked
from diffuserve.dialects.qianfan.render import reply
from diffuserve.dialects.qianfan.wire import Token

GRANT_TYPE = "client_credentials"


async def grant(request: Request, access_tokens: AccessTokens) -> Response:
    """A token for the pair that was shown; for nobody in particular on an open server. Raises InvalidParameter."""
    kind = await asked(request, "grant_type")
    if kind != GRANT_TYPE:
        raise InvalidParameter("grant_type", GRANT_TYPE, kind or None)
    # Who came in while the server was open has proved nothing, even if it has closed meanwhile.
    access_key = await asked(request, "client_id") if principal(request).key_id else None
    token = Token(
        access_token=access_tokens.issue(access_key),
        refresh_token=access_tokens.issue_refresh(access_key),
        expires_in=LIFETIME,
        session_key=base64.b64encode(secrets.token_bytes(48)).decode("ascii"),
        session_secret=secrets.token_hex(16),
    )
    return reply(token, request, headers={"cache-control": "no-store"})
