"""`ports.Tracer` for a server whose traces nobody collects."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from diffuserve.core.job import Job


class Untraced:
    def accepted(self, job: Job) -> None:
        pass

    def drawing(self, job: Job) -> AbstractContextManager[None]:
        return nullcontext()

    def storing(self, job: Job, index: int) -> AbstractContextManager[None]:
        return nullcontext()
