"""The truth about jobs, who pays for them and who is told, on SQL. The only room that imports sqlalchemy.

`tables.py` is the schema and `migrations/` its history, `rows.py` turns jobs into rows and back. What happens to a job is in
plain functions of a connection: `adding.py`, `queries.py`, `ending.py`. `database.py` says who runs them: `sqlite.py` or
`postgres.py`, each on threads before which calls queue (`lane.py`). `jobs.py`, `accounts.py`, `deliveries.py` and
`retention.py` are the ports made of all that. Read them in this order.
"""

from __future__ import annotations

from diffuserve.store.accounts import SqlAccountStore
from diffuserve.store.database import Database
from diffuserve.store.deliveries import SqlDeliveryStore
from diffuserve.store.jobs import SqlJobStore
from diffuserve.store.opening import Stores, open_store, upgrade

__all__ = ["Database", "SqlAccountStore", "SqlDeliveryStore", "SqlJobStore", "Stores", "open_store", "upgrade"]
