"""The one HTTP application: every dialect's routes, the doors before them, and the few pages that belong to no dialect.

Read `app.py` (what stands where, in order), then `guards.py`.
"""
