"""Bytes under keys that we choose: `LocalBlobs` on disk, `MemoryBlobs` for tests. `keys.py` says what a key may be."""

from __future__ import annotations

from diffuserve.blobs.objects import LocalBlobs, MemoryBlobs, ObjectBlobs

__all__ = ["LocalBlobs", "MemoryBlobs", "ObjectBlobs"]
