"""Bytes under keys that we choose: `LocalBlobs` on disk, `S3Blobs` in a bucket, `MemoryBlobs` for tests.

`objects.py` is what they share, `s3.py` the bucket and its links, `keys.py` says what a key may be.
"""

from __future__ import annotations

from diffuserve.blobs.objects import LocalBlobs, MemoryBlobs, ObjectBlobs
from diffuserve.blobs.s3 import Bucket, S3Blobs

__all__ = ["Bucket", "LocalBlobs", "MemoryBlobs", "ObjectBlobs", "S3Blobs"]
