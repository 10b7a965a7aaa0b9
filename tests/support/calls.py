"""One call of each hot script, on a queue that has something for all: for tests that say the same of every script."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from typing import Any

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Failed, Limited, NewRow, Retrying
from engine.scripting.loader import Script
from engine.scripts.add import add
from engine.scripts.add_plain import add_plain
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
from engine.scripts.retry import retry
from engine.scripts.turn import turn
from tests.support.seeding import Held, claimed, seed

Call = Callable[[Link, Keys], Awaitable[Any]]

NEW = [
    NewRow("", "n", b"{}", b"{}"),
    NewRow("mine", "n", b"{}", b"{}", lifo=True),
    NewRow("ranked", "n", b"{}", b"{}", priority=4),
    NewRow("much-later", "n", b"{}", b"{}", delay=500),
]
PLAIN = [NewRow("", "n", b"{}", b"{}"), NewRow("", "m", b"1", b"{}")]
HELD = [claimed("a"), claimed("b"), claimed("r")]
KEEPS = [Keep(count=1), Keep(count=1), Keep(count=0)]
LIMITS = [Limited(50), Limited(60), Limited(40)]
RESULTS = [(job, b"1", keep) for job, keep in zip(HELD, KEEPS, strict=True)]


async def seed_for_all(link: Link, keys: Keys) -> None:
    """Jobs in every state. t1 holds `a`, `b` and, of priority 2, `r`; `dead` has no lock; at 7 `soon` is due."""
    await seed(
        link,
        keys,
        wait=["w1", "w2"],
        prioritized={"p": 3},
        delayed={"soon": 5, "soon-ranked": 6, "later": 99},
        active={"dead": Held("t0", lock_ms=None), "a": Held(), "b": Held(), "r": Held()},
        completed={"c1": 1, "c2": 2},
        failed={"f1": 1, "f2": 2},
        stalled=["dead", "a"],
        meta={"opts.maxLenEvents": 10_000},
        jobs={"r": {"priority": 2}, "soon-ranked": {"priority": 1}, "a": {"opts": '{"attempts":5}'}},
    )


CALLS: dict[str, Call] = {
    "add": lambda link, keys: add(link, keys, NEW, now=7),
    "add_plain": lambda link, keys: add_plain(link, keys, PLAIN, now=7),
    "claim": lambda link, keys: claim(link, keys, token="t2", lock_ms=9_000, worker="w", count=10, now=7),
    "finish": lambda link, keys: finish(link, keys, RESULTS, now=7),
    "turn": lambda link, keys: turn(link, keys, RESULTS, token="t2", lock_ms=9_000, worker="w", count=10, now=7),
    "fail": lambda link, keys: fail(
        link, keys, [(job, Failed("why"), keep, 1) for job, _, keep in RESULTS], dead_letters=Keep(count=2), now=7
    ),
    "retry": lambda link, keys: retry(link, keys, [(job, Retrying(0, "why"), False) for job in HELD], now=7),
    "delay": lambda link, keys: delay(link, keys, [(job, Retrying(50, "why")) for job in HELD], now=7),
    "rate_limit": lambda link, keys: rate_limit(link, keys, zip(HELD, LIMITS, strict=True), now=7),
    "release": lambda link, keys: release(link, keys, HELD, now=7),
    "renew": lambda link, keys: renew(link, keys, HELD, lock_ms=9_000, now=7),
    "recover_stalled": lambda link, keys: recover_stalled(link, keys, interval_ms=9_000, max_stalls=1, now=7),
    "promote": lambda link, keys: promote(link, keys, now=7),
    "recover_claim": lambda link, keys: recover_claim(link, keys, token="t1", lock_ms=9_000, now=7),
}


def script(verb: str) -> Script:
    """The script behind a function of engine/scripts/."""
    found: Script = getattr(importlib.import_module(f"engine.scripts.{verb}"), f"_{verb}")
    return found


FENCED = ("finish", "fail", "retry", "delay", "rate_limit", "release", "renew", "turn")
"""The scripts that act on claims."""
