"""For every test: torch's threads may sleep while they wait for each other, or a busy machine makes minutes of seconds; and
nobody is failed for being slow, which hypothesis would do on a fresh checkout, where it first makes its table of characters."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Read when torch is first imported, which is after this file; `engine.spawn` sets it for engine processes.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
