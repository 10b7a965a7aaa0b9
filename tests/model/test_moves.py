"""Random calls of the hot scripts, compared with a small model of the queue; invariants hold after every step."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from engine.connection.address import RedisSettings
from engine.connection.connection import Connection
from engine.connection.embedded import EmbeddedServer
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Claimed, Failed, Limited, NewRow, Retrying
from engine.scripting.rows import Refusal, Refusals
from engine.scripts.add import add
from engine.scripts.cancel import Cancellation, cancel
from engine.scripts.claim import claim
from engine.scripts.delay import delay
from engine.scripts.fail import fail
from engine.scripts.finish import finish
from engine.scripts.promote import promote
from engine.scripts.rate_limit import rate_limit
from engine.scripts.recover_claim import recover_claim
from engine.scripts.recover_stalled import recover_stalled
from engine.scripts.release import release
from engine.scripts.renew import renew
from engine.scripts.replay import NotReplayed, replay
from engine.scripts.retry import retry
from engine.scripts.turn import turn
from tests.support.invariants import violations
from tests.support.keyspace import census, dump

MAX_STALLS = 1
OPTS = b'{"attempts":1000}'
ALL, NONE = Keep(), Keep(count=0)


class Queue(RuleBasedStateMachine):
    """A queue and what is known of it: the ids added, who holds which job, and which are over."""

    server: EmbeddedServer

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        self.link = Connection(RedisSettings.parse(self.server.url))
        self.keys = Keys("q")
        self.now = 1_000
        self.tokens = itertools.count(1)
        self.known: set[str] = set()
        self.held: dict[str, Claimed] = {}
        self.given: list[Claimed] = []
        self.over: set[str] = set()
        self.due: dict[str, int] = {}
        self.anew: set[str] = set()
        self.paused = False
        self.limit: int | None = None
        self.do(self.link.connect())
        self.do(self.link.call("FLUSHALL"))

    def teardown(self) -> None:
        self.do(self.link.close())
        self.runner.close()

    def do(self, call: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await call

        return self.runner.run(wait())

    # -- producers and operators ---------------------------------------------------------------------------------------

    @rule(
        ids=st.lists(st.sampled_from(["", "", "x", "y", "z"]), min_size=1, max_size=4),
        delay=st.sampled_from([0, 0, 0, 1, 5]),
        priority=st.sampled_from([0, 0, 1, 2]),
        lifo=st.booleans(),
    )
    def add(self, ids: list[str], delay: int, priority: int, lifo: bool) -> None:
        rows = [NewRow(id, "n", b"{}", OPTS, delay=delay, priority=priority, lifo=lifo) for id in ids]
        added = self.do(add(self.link, self.keys, rows, now=self.now))
        for number, id in enumerate(added.ids):
            assert (number in added.known) == (id in self.known)
            if id not in self.known:
                self.known.add(id)
                self.over.discard(id)
                if delay:
                    self.due[id] = self.now + delay

    @rule(id=st.sampled_from("123xyz"))
    def replay(self, id: str) -> None:
        letter = self.do(self.link.call("HMGET", self.keys.dead_letter(id), "finishedOn", "replayedOn"))
        has_failed = id in self.do(census(self.link, self.keys))["failed"]
        wanted = (
            NotReplayed.MISSING if letter[0] is None
            else NotReplayed.DONE if letter[1] is not None
            else NotReplayed.PRESENT if id in self.known and not has_failed
            else None
        )  # fmt: skip
        by = f"t{next(self.tokens)}"
        refused = self.do(replay(self.link, self.keys, [(id, None, None)], by=by, now=self.now))
        assert refused.get(id) == wanted
        before = self.do(dump(self.link))
        again = self.do(replay(self.link, self.keys, [(id, None, None)], by=by, now=self.now))
        assert again == refused, "the same call again does nothing"
        self.assert_unchanged(before)
        if wanted is None:
            if id not in self.known:
                self.anew.add(id)
            self.known.add(id)
            self.over.discard(id)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), keep=st.sampled_from([ALL, NONE]))
    def cancel(self, data: Any, keep: Keep) -> None:
        id = data.draw(st.sampled_from(sorted(self.known)))
        said = self.do(cancel(self.link, self.keys, id=id, reason="cancelled", keep=keep, now=self.now))
        if id in self.held:
            assert said is Cancellation.ASKED
        elif id in self.over:
            assert said is Cancellation.ENDED
        else:
            assert said is Cancellation.CANCELLED
            self.due.pop(id, None)
            self.over.add(id)
            if keep is NONE:
                self.known.discard(id)

    @rule(ms=st.integers(1, 6))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @rule()
    def scripts_are_forgotten(self) -> None:
        self.do(self.link.call("SCRIPT", "FLUSH"))

    @rule(paused=st.booleans())
    def the_flag_is_set(self, paused: bool) -> None:
        self.paused = paused
        self.do(
            self.link.call("HSET", self.keys.meta, "paused", 1)
            if paused
            else self.link.call("HDEL", self.keys.meta, "paused")
        )

    @rule(limit=st.sampled_from([None, 1, 3]))
    def the_concurrency_is_set(self, limit: int | None) -> None:
        self.limit = limit
        field = "concurrency"
        self.do(
            self.link.call("HSET", self.keys.meta, field, limit)
            if limit
            else self.link.call("HDEL", self.keys.meta, field)
        )

    # -- workers -------------------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 3), reply_is_lost=st.booleans())
    def claim(self, count: int, reply_is_lost: bool) -> None:
        token = f"t{next(self.tokens)}"
        active = len(self.held_or_dead())
        claims = self.do(
            claim(self.link, self.keys, token=token, lock_ms=900_000, worker="w", count=count, now=self.now)
        )
        if reply_is_lost:
            assert self.do(recover_claim(self.link, self.keys, token=token, lock_ms=900_000, count=2)) == claims.jobs
        self.take(claims.jobs, active)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), count=st.integers(0, 2))
    def turn(self, data: Any, count: int) -> None:
        job, active = data.draw(st.sampled_from(list(self.held.values()))), len(self.held_or_dead())
        turned = self.do(
            turn(
                self.link, self.keys, [(job, b"1", ALL)],
                token=f"t{next(self.tokens)}", lock_ms=900_000, worker="w", count=count, now=self.now,
            )
        )  # fmt: skip
        assert turned.refused == {}
        self.leave(job, over=True)
        self.take(turned.jobs, active - 1)

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        verb=st.sampled_from(["finish", "fail", "retry", "delay", "rate_limit", "release", "renew"]),
        keep=st.sampled_from([ALL, NONE]),
    )
    def act(self, data: Any, verb: str, keep: Keep) -> None:
        job = data.draw(st.sampled_from(list(self.held.values())))
        assert self.call(verb, job, keep) == {}
        if verb != "renew":
            self.leave(job, over=verb in ("finish", "fail"))
        if verb == "delay":
            self.due[job.id] = self.now + 3
        if verb in ("finish", "fail") and keep is NONE:
            self.known.discard(job.id)
        if verb != "renew":
            before = self.do(dump(self.link))
            assert self.call(verb, job, keep) != {}, "the same call again does nothing"
            self.assert_unchanged(before)

    @precondition(lambda self: self.given)
    @rule(data=st.data(), verb=st.sampled_from(["finish", "fail", "retry", "delay", "rate_limit", "release", "renew"]))
    def act_on_an_old_claim(self, data: Any, verb: str) -> None:
        job = data.draw(st.sampled_from(self.given))
        if self.held.get(job.id) == job:
            return
        before = self.do(dump(self.link))
        assert self.call(verb, job, ALL) in ({0: Refusal.LOST}, {0: Refusal.MISSING}, {0: Refusal.DONE})
        self.assert_unchanged(before)

    @rule()
    def promote(self) -> None:
        self.do(promote(self.link, self.keys, now=self.now))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), count=st.integers(1, 3))
    def a_worker_dies(self, data: Any, count: int) -> None:
        dead = data.draw(st.lists(st.sampled_from(list(self.held.values())), min_size=1, unique_by=lambda job: job.id))
        self.do(
            self.link.call("DEL", self.keys.stalled_check, self.keys.watch, *(self.keys.lock(job.id) for job in dead))
        )
        back = self.do(
            recover_stalled(self.link, self.keys, interval_ms=900_000, max_stalls=MAX_STALLS, count=count, now=self.now)
        )
        assert sorted(back) == sorted(job.id for job in dead)
        for job in dead:
            self.leave(job, over=False)

    # ------------------------------------------------------------------------------------------------------------------

    @invariant()
    def sound(self) -> None:
        assert self.do(violations(self.link, self.keys)) == []
        found = self.do(census(self.link, self.keys))
        assert sorted(found["active"]) == sorted(self.held)
        assert {id for ids in found.values() for id in ids} == self.known
        assert {*found["completed"], *found["failed"]} == self.over & self.known

    def held_or_dead(self) -> dict[str, Claimed]:
        return self.held

    def take(self, jobs: list[Claimed], active: int) -> None:
        assert not jobs or (not self.paused and (self.limit is None or active + len(jobs) <= self.limit))
        for job in jobs:
            assert job.id in self.known
            assert job.id not in self.held
            assert self.due.pop(job.id, 0) <= self.now, "never early"
            assert all(job.fence > old.fence for old in self.given if old.id == job.id and old.id not in self.reborn())
            self.held[job.id] = job
            self.given.append(job)

    def reborn(self) -> set[str]:
        """Ids that a producer or a replay may give again after their job was dropped; their fence begins anew."""
        return {"x", "y", "z"} | self.anew

    def assert_unchanged(self, before: dict[str, Any]) -> None:
        after = self.do(dump(self.link))
        # The hold of a limit ends by the server's clock, which may be now.
        assert after == {key: held for key, held in before.items() if key != self.keys.limiter or key in after}

    def leave(self, job: Claimed, *, over: bool) -> None:
        del self.held[job.id]
        self.over = self.over | {job.id} if over else self.over - {job.id}

    def call(self, verb: str, job: Claimed, keep: Keep) -> Refusals:
        link, keys, now = self.link, self.keys, self.now
        calls = {
            "finish": lambda: finish(link, keys, [(job, b"1", keep)], now=now),
            "fail": lambda: fail(link, keys, [(job, Failed("no"), keep, 1)], dead_letters=Keep(count=3), now=now),
            "retry": lambda: retry(link, keys, [(job, Retrying(0, "no"), job.fence % 2 == 0)], now=now),
            "delay": lambda: delay(link, keys, [(job, Retrying(3, "no"))], now=now),
            "rate_limit": lambda: rate_limit(link, keys, [(job, Limited(3))], now=now),
            "release": lambda: release(link, keys, [job], now=now),
            "renew": lambda: renew(link, keys, [job], lock_ms=900_000, now=now),
        }
        refusals: Refusals = self.do(calls[verb]())
        return refusals


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


@pytest.mark.timeout(120)
def test_whatever_is_called_the_queue_stays_sound(server: EmbeddedServer) -> None:
    Queue.server = server
    run_state_machine_as_test(
        Queue,
        settings=settings(
            max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
