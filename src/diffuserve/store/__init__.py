"""The truth about jobs, on SQL. The only room that imports sqlalchemy.

`tables.py` is the schema and `migrations/` its history, `rows.py` turns jobs into rows and back, `queries.py` is every
statement as a plain function of a connection, `lane.py` runs such functions on a thread and commits them in groups,
`sqlite.py` opens the file, and `jobs.py` is `ports.JobStore` made of all that. Read them in this order.
"""

from __future__ import annotations

from diffuserve.store.jobs import SqlJobStore, open_store

__all__ = ["SqlJobStore", "open_store"]
