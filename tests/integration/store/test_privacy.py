"""What the log says of a failure: what happened, not to whose words."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text

from diffuserve.core.account import Key, KeyType
from diffuserve.core.errors import StorageFailed
from diffuserve.store import Stores
from support.models import job, resolved

pytestmark = pytest.mark.integration

SECRET = "sesame-open"


async def test_a_failure_does_not_quote_the_row(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    await stores.jobs.add(job(1), now=0.0)
    key = Key("key_1", "acme", KeyType.BEARER, 0.0)
    await stores.accounts.add_key(key, token_hash=SECRET)
    with pytest.raises(StorageFailed) as refused:
        await stores.jobs.add(job(2, dialect=None, request=resolved(prompt=SECRET)), now=0.0)
    with pytest.raises(StorageFailed):
        await stores.accounts.add_key(key, token_hash=SECRET)
    assert len(caplog.records) == 2
    assert SECRET not in caplog.text and SECRET not in repr(refused.value)


async def test_a_row_that_does_not_parse_is_not_quoted(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    def spoil(connection: Connection) -> None:
        connection.execute(text("UPDATE jobs SET request = :request"), {"request": f'{{"prompt": ["{SECRET}"]}}'})

    await stores.jobs.add(job(1), now=0.0)
    await stores.database.write(spoil)
    with pytest.raises(StorageFailed):
        await stores.jobs.get(1)
    assert list(await stores.jobs.claim("me", 1, 0.0, 30.0)) == []
    assert len(caplog.records) == 2
    assert SECRET not in caplog.text
