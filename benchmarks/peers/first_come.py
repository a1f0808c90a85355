"""diffuserve drawing in the order of arrival: as many jobs at once as fill a forward pass, the oldest first, each to its end.

The rest is the same: the engine, its batches, the whole way through the server.
"""

from __future__ import annotations

import sys
from functools import partial

from diffuserve import wiring
from diffuserve.cli import main

AT_ONCE = 8
"""With guidance a job has two rows, and a forward pass has sixteen."""

if __name__ == "__main__":
    wiring.Worker = partial(wiring.Worker, concurrency=AT_ONCE)  # type: ignore[misc]
    main(sys.argv[1:])
