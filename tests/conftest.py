"""For every test: torch's threads may sleep while they wait for each other, or a busy machine makes minutes of seconds."""

from __future__ import annotations

import os

# Read when torch is first imported, which is after this file; `engine.spawn` sets it for engine processes.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
