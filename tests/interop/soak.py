"""The mixed soak: BullMQ 5, BullMQ 6 and Corral add to one queue and work on it, through kills and pauses.

    python -m tests.interop.soak --jobs 100000

What is charged, by the event stream, by where the jobs are at the end, and by ledgers outside Redis: every worker
writes its starts and ends there, every reader of events what it read, and the producers the ids that they were given.

lost                A producer was given an id, and its job neither completed nor failed, nor is it anywhere.
completed twice     Two ends, `completed` or `failed`, were accepted for one job. It may start twice, if its worker
                    was killed or slept past its lock: a start is promised at least once, an end once.
wrong end           A job has not ended, or not as it was made to, or with the result of another one.
wrong life          The events of a job do not spell a life: each claim out of the line, each return to it by a
                    retry, a stall or a release, one end, out of the last claim. Or they tell of a job that nobody
                    added.
wrong start         A claim (id and `ats`) ran twice, a job has more starts than claims, or it completed and no run
                    ended.
out of order        Plain jobs of one producer get in line in the order of their adds, and are claimed for the first
                    time in that order, whoever claims them and whoever is killed; a later claim of the same job is
                    no part of it. Plain: no delay, no priority, not lifo, no retry. Through pauses too, with one
                    exception, which is BullMQ's: a pause by BullMQ 6 leaves in `wait` what waits, BullMQ 5 then
                    adds to `paused`, and a resume puts that in front. So jobs that BullMQ 5 adds in such a pause
                    may pass its older ones.
child after parent  A parent was claimed before its children had ended.
unread              BullMQ 5, BullMQ 6 and Corral did not read the same events, which are those of the stream, to
                    the end and in order.

Every chance comes from the seed, which is printed; what the processes make of it differs from run to run. nemesis.py
says what is done to them and what is not, since BullMQ by itself would lose jobs by it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from engine.connection import Connection, RedisSettings
from engine.connection.embedded import EmbeddedServer
from tests.interop.side import modules
from tests.interop.soaking.run import Plan, Soak
from tests.interop.soaking.sides import VERSIONS
from tests.interop.soaking.verdict import Verdict
from tests.support.invariants import violations
from tests.support.keyspace import all_keyspaces

JOBS_OF_A_BLOW = 400
SHOWN = 10


def main() -> int:
    plan, folder = _arguments()
    for version in VERSIONS.values():
        modules(version)
    print(f"{plan}\nledgers in {folder}", flush=True)
    with EmbeddedServer(extra_args=["--appendfsync", "always"] if plan.restarts else []) as server:
        began = time.monotonic()
        soak = Soak(plan, server, folder)
        verdict = asyncio.run(soak.run(tell=print))
        _show(soak, verdict, time.monotonic() - began)
        unsound = asyncio.run(_unsound(server.url))
        print(*unsound[:SHOWN], f"{len(unsound)} violations of the invariants", sep="\n")
    return 1 if verdict.charges or unsound else 0


def _arguments() -> tuple[Plan, Path]:
    parser = argparse.ArgumentParser(
        prog="python -m tests.interop.soak", description="The mixed soak with BullMQ 5 and 6."
    )
    parser.add_argument("--jobs", type=int, default=100_000, help="(default: 100000)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of all chances (default: a new one)")
    parser.add_argument("--ms", type=float, default=25, help="how long a job takes on average (default: 25)")
    parser.add_argument(
        "--blows", type=int, help=f"kills, stops, freezes, thefts and pauses (default: one for {JOBS_OF_A_BLOW} jobs)"
    )
    parser.add_argument(
        "--restarts", type=int, default=0, help="how often the server is killed and started (default: 0)"
    )
    parser.add_argument("--keep", type=Path, help="a folder for ledgers and logs (default: a new temporary one)")
    said = parser.parse_args()
    folder = said.keep or Path(tempfile.mkdtemp(prefix="corral-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    blows = said.blows or max(1, said.jobs // JOBS_OF_A_BLOW)
    return Plan(said.jobs, blows, said.seed, said.ms, said.restarts), folder


def _show(soak: Soak, verdict: Verdict, seconds: float) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in soak.kinds.items())
    print(f"{verdict.jobs} jobs in {seconds:.0f} s ({kinds})")
    _show_blows(soak)
    print(f"{verdict.events} events; {verdict.starts} starts, {verdict.again} of them again; {verdict.stalls} stalls")
    for charge, found in verdict.charges.items():
        print(f"{charge}: {len(found)}", *found[:SHOWN], sep="\n  ")
    print("no charges" if not verdict.charges else "CHARGED")


def _show_blows(soak: Soak) -> None:
    nemesis = soak.nemesis
    kills = ", ".join(f"{hand.kills} of {side}" for side, hand in soak.hands.items())
    freezes = sum(hand.freezes for hand in soak.hands.values())
    print(f"workers killed: {kills}; stopped {nemesis.stops}, frozen {freezes}; server killed {nemesis.restarts}")
    print(f"locks deleted: {nemesis.thefts}")
    pauses = ", ".join(f"{times} {pauser}-{resumer}" for (pauser, resumer), times in sorted(nemesis.pauses.items()))
    print(f"pauses, and who resumed: {pauses}")


async def _unsound(url: str) -> list[str]:
    link = Connection(RedisSettings.parse(url))
    await link.connect()
    try:
        return [line for keys in await all_keyspaces(link) for line in await violations(link, keys)]
    finally:
        await link.close()


if __name__ == "__main__":
    sys.exit(main())
