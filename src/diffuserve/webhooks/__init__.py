"""Telling callers that their jobs ended: at least once, in order for each job, until they listen or time is up.

The transaction that ends a job writes its notification into the store (`core.delivery`). `sender.py` takes it from there;
read it first. `backoff.py` says when to try again, `hosts.py` keeps one slow receiver from holding up all others,
`client.py` makes the call, `sign.py` signs per the Standard Webhooks specification. The words of a notification are its
dialect's (`dialects.callbacks`). `docs/webhooks.md` is the page for receivers and operators.
"""
