"""A real S3 service of our own: `rclone serve s3` over a folder. It checks signatures, and when they end."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffuserve.blobs import Bucket

ACCESS_KEY = "AKIAOFTHETESTS"
SECRET_KEY = "secret-of-the-tests"
BUCKET = "pictures"
PATIENCE = 900.0
"""Seconds after which the service is ended whatever the tests do; several files share it."""


class S3Service:
    """Buckets are the folders in `root`."""

    def __init__(self, root: Path, port: int = 0) -> None:
        (root / BUCKET).mkdir(parents=True, exist_ok=True)
        self.root = root
        self._process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("rclone")),
                *("serve", "s3", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--addr", f"127.0.0.1:{port}"),
                *("--vfs-cache-mode", "off", "--config", "/dev/null", str(root)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._deadline = threading.Timer(PATIENCE, self._process.kill)
        self._deadline.start()
        self.endpoint = self._said(r"(http://127\.0\.0\.1:\d+)")
        self._rest = threading.Thread(target=self._read_on, daemon=True)
        self._rest.start()

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def bucket(self, name: str = BUCKET, secret_key: str = SECRET_KEY, **changes: object) -> Bucket:
        return Bucket(
            name,
            endpoint=self.endpoint,
            access_key=ACCESS_KEY,
            secret_key=secret_key,
            path_style=True,
            **changes,  # type: ignore[arg-type]
        )

    def settings(self) -> dict[str, str]:
        """What `diffuserve.toml` or the environment would say."""
        return {
            "storage": "s3",
            "s3_bucket": BUCKET,
            "s3_endpoint": self.endpoint,
            "s3_access_key": ACCESS_KEY,
            "s3_secret_key": SECRET_KEY,
            "s3_path_style": "true",
        }

    def objects(self) -> list[str]:
        """Keys in the bucket."""
        folder = self.root / BUCKET
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._deadline.cancel()

    def _said(self, pattern: str) -> str:
        assert self._process.stderr is not None
        lines = []
        for line in self._process.stderr:
            lines.append(line)
            if match := re.search(pattern, line):
                return match[1]
        raise AssertionError("rclone ended: " + "".join(lines))

    def _read_on(self) -> None:
        assert self._process.stderr is not None
        for _ in self._process.stderr:
            pass


@contextmanager
def s3_service(root: Path, port: int = 0) -> Iterator[S3Service]:
    service = S3Service(root, port)
    try:
        yield service
    finally:
        service.stop()
