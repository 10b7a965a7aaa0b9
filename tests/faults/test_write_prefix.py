"""A script that breaks off before any of its writes leaves no job nowhere: at worst one stands in two places.

Scripts are not rolled back, and a wrong type, a refusal of the ACL or a kill can break one off between two writes.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from engine.connection import Argument, Link, Reply, Waiter
from engine.errors import ServerError
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.scripts.claim import claim
from engine.scripts.finish import finish
from engine.scripts.recover_stalled import recover_stalled
from tests.support.calls import CALLS, script, seed_for_all
from tests.support.invariants import violations
from tests.support.keyspace import census
from tests.support.seeding import Held, claimed, seed

_BREAK = """
local redis = { call = redis.call, pcall = redis.pcall, writes = 0 }
do
  local call = redis.call
  local reads = {}
  for name in string.gmatch('EXISTS GET HEXISTS HGET HGETALL HLEN HMGET LLEN LPOS LRANGE MGET PTTL SCARD SISMEMBER TIME XLEN ' ..
    'ZCARD ZINTERCARD ZRANGE ZRANGEBYSCORE ZREVRANGEBYSCORE ZSCORE', '%u+') do reads[name] = true end
  redis.call = function(name, ...)
    if not reads[name] then
      redis.writes = redis.writes + 1
      if redis.writes == BREAK then error('broken off') end
    end
    return call(name, ...)
  end
end
"""
"""Put before a script: it raises instead of its write number BREAK."""

WRITING = [verb for verb in CALLS if verb != "recover_claim"]


class Breaking:
    """A link that breaks each script off before its write number `at`."""

    def __init__(self, link: Link, at: int) -> None:
        self._link = link
        self._prelude = _BREAK.replace("BREAK", str(at))
        self._bodies = {script(verb).digest: script(verb).body for verb in CALLS}

    async def call(self, *command: Argument) -> Reply:
        verb, digest, *rest = command
        assert verb == "EVALSHA", "only scripts are called"
        return await self._link.call("EVAL", self._prelude + self._bodies[str(digest)], *rest)

    def post(self, waiter: Waiter, *command: Argument) -> None:
        raise NotImplementedError

    async def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        return [await self.call(*command) for command in commands]

    async def close(self) -> None:
        await self._link.close()


@pytest.mark.usefixtures("damaged")
@pytest.mark.asyncio(loop_factories=["uvloop"])
@pytest.mark.parametrize("verb", WRITING)
async def test_no_job_is_lost_wherever_a_script_breaks_off(link: Link, keys: Keys, verb: str) -> None:
    for at in itertools.count(1):
        await link.call("FLUSHALL")
        await seed_for_all(link, keys)
        were = {id for ids in (await census(link, keys)).values() for id in ids}
        broke_off = await breaks_off(CALLS[verb](Breaking(link, at), keys))
        assert await lost(link, keys, were) == [], f"{verb} broken off before its write {at}"
        await sweep_all(link, keys)
        assert await lost(link, keys, were) == [], f"{verb} broken off before its write {at}, then swept"
        if not broke_off:
            break
    assert at > 2, "the script writes, and was broken off"


@pytest.mark.usefixtures("damaged")
@pytest.mark.asyncio(loop_factories=["uvloop"])
@pytest.mark.parametrize("opts", ["{}", '{"delay":1}', '{"priority":3}'])
async def test_a_kept_job_runs_wherever_the_script_breaks_off(link: Link, keys: Keys, opts: str) -> None:
    for at in itertools.count(1):
        await link.call("FLUSHALL")
        await seed(link, keys, active={"a": Held()}, jobs={"a": {"deid": "d", "opts": '{"de":{"id":"d"}}'}})
        await link.call("SET", keys.deduplication("d"), "a")
        await link.call("HSET", keys.jobs + "dn:d", "name", "n", "data", "{}", "opts", opts, "jid", "next")
        owner = claimed("a", opts=b'{"de":{"id":"d"}}')
        broke_off = await breaks_off(finish(Breaking(link, at), keys, [(owner, b"1", Keep())], now=7))
        await sweep_all(link, keys)
        for now in itertools.count(9):
            found = await claim(link, keys, token=f"t{now}", lock_ms=9_000, worker="w", count=9, now=now)
            await finish(link, keys, [(job, b"1", Keep()) for job in found.jobs], now=now)
            if not found.jobs and found.next_due is None:
                break
        assert sorted((await census(link, keys))["completed"]) == ["a", "next"], f"broken off before write {at}"
        if not broke_off:
            break
    assert at > 8, "the script writes, and was broken off"


async def breaks_off(call: Awaitable[Any]) -> bool:
    try:
        await call
    except ServerError as error:
        if "broken off" not in str(error):
            raise
        return True
    return False


async def sweep_all(link: Link, keys: Keys) -> None:
    """What a sweep does after a kill, once all locks have ended."""
    await link.call("DEL", keys.stalled_check, *map(keys.lock, (await census(link, keys))["active"]))
    await recover_stalled(link, keys, interval_ms=60_000, max_stalls=1, now=8)


async def lost(link: Link, keys: Keys, were: set[str]) -> list[str]:
    """The jobs that were there and are now a hash without a place. Those of which nothing is kept have neither."""
    wrong = [line for line in await violations(link, keys) if "is nowhere" in line]
    return [line for line in wrong if any(repr(id) in line for id in were)]
