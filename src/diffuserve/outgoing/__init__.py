"""Calls that the server makes to addresses which strangers chose: pictures by link, and webhooks.

`address.py` judges a link before anything is done with it, `guard.py` the IP address that it leads to in the moment of
connecting. `media.fetch` and `webhooks.client` call through them.
"""
