"""The nouns of the house: frozen dataclasses, standard library only, importable from everywhere.

Read `request.py` (what is asked), `job.py` (what was accepted), `events.py` (what an engine says), `errors.py` (all that
can go wrong), `samplers.py` (the table of solvers) and `ports.py` (every socket in the wall), in this order.
"""
