from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.s3 import S3Service, s3_service


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Service]:
    """One for all tests: each uses a prefix of its own."""
    with s3_service(tmp_path_factory.mktemp("s3")) as service:
        yield service
