"""What a short life of a queue leaves in Redis, key by key: changed only on purpose.

CORRAL_GOLDEN=write .venv/bin/pytest tests/golden writes it anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Failed, NewRow, Retrying
from engine.scripts.add import add
from engine.scripts.claim import claim
from engine.scripts.delay import delay
from engine.scripts.fail import fail
from engine.scripts.finish import finish
from engine.scripts.init_queue import init_queue
from tests.support.keyspace import snapshot

GOLDEN = Path(__file__).with_name("keyspace.json")
OPTS = b'{"attempts":0}'


async def test_the_keyspace_is_what_it_was(link: Link, keys: Keys) -> None:
    await init_queue(link, keys, version="corral:test", now=1_000)
    rows = [
        NewRow("", "plain", b'{"n":1}', OPTS),
        NewRow("mine", "chosen", b'"\xc3\xa9/x"', OPTS),
        NewRow("", "urgent", b"[]", OPTS, priority=3),
        NewRow("", "later", b"{}", OPTS, delay=5_000),
        NewRow("", "front", b"null", OPTS, lifo=True),
    ]
    await add(link, keys, rows, now=1_000)
    done, failing, retried = (await claim(link, keys, token="t1", lock_ms=30_000, worker="w", count=3, now=1_010)).jobs
    await finish(link, keys, [(done, b'{"ok":true}', Keep())], now=1_020)
    await fail(link, keys, [(failing, Failed("boom", b'["trace"]'), Keep(), 1)], now=1_030)
    await delay(link, keys, [(retried, Retrying(250, "busy", b'["trace"]'))], now=1_040)
    await claim(link, keys, token="t2", lock_ms=30_000, worker="w", count=1, now=1_050)

    found = json.loads(json.dumps(await snapshot(link, keys), default=str, sort_keys=True))
    if os.environ.get("CORRAL_GOLDEN") == "write":
        GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(GOLDEN.read_text())
