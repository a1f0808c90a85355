"""Who asks, and whether they may: tokens, the sealing of secrets, and the gate before every dialect.

`tokens.py` makes secrets and hashes them, `secrets.py` seals those that must be read again, `bearer.py` finds a token in
a request, `pace.py` counts requests, `gate.py` puts that together for a server, `keyring.py` for whoever manages keys.
`access_tokens.py` are tokens that no table holds, `bce.py` is Baidu's request signature; both are pure.
Accounts and keys themselves are in `core.account`, where they are kept is `core.ports.AccountStore`.
"""

from __future__ import annotations

from diffuserve.auth.gate import Gate
from diffuserve.auth.keyring import Keyring
from diffuserve.auth.secrets import Sealer

__all__ = ["Gate", "Keyring", "Sealer"]
