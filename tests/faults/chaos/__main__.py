"""The chaos: steady load and one fault after the other on daemons, lines and server, and a ledger outside Redis.

    python -m tests.faults.chaos --seconds 180 --rate 300 --daemons 2 --seed 7 --fsync always

Every chance comes from the seed; what the processes make of it differs from run to run. nemesis.py has the faults.
The last line has the figures. What is charged, with the numbers of invariants as tests/support/invariants.py has them:

lost              An add was acknowledged, and the job is nowhere (I2). All jobs are kept.
completed twice   The ends of two claims were accepted as a job's completion (I6). It may start twice, if its daemon was
                  killed, slept past its lock or was cut off: a start is promised at least once, an end once.
added twice       One add made two jobs.
refused and run   An add was refused, and the job was run all the same.
wrong end         A job is not in completed when all is worked off, or no handler came to the end of the claim that
                  completed it (I3).
wrong start       A claim was run twice, or a job has more starts than claims (I7).
exited            A daemon that had started jobs ended by itself.
unsound           The queue by itself is not what it should be (I1, I6, I7, I8, I14).
late restart      More than one in a hundred jobs that a killed daemon had in hand started again later than a lock and
                  two sweeps after the kill.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.faults.chaos.plan import Plan
from tests.faults.chaos.run import Chaos, chaos_server
from tests.faults.chaos.verdict import Verdict, at_share, judge

SHOWN = 10


def main() -> int:
    plan, folder = _arguments()
    print(f"{plan}\nledgers and logs in {folder}", flush=True)
    with chaos_server(plan) as server:
        chaos = Chaos(plan, server, folder)
        verdict = judge(asyncio.run(chaos.run()), durable=plan.fsync == "always", bound=plan.bound)
    for charge, found in verdict.charges.items():
        print(f"{charge}: {len(found)}", *found[:SHOWN], sep="\n  ")
    print(_result(chaos, verdict))
    return 1 if verdict.charges else 0


def _arguments() -> tuple[Plan, Path]:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description="Load, faults and a verdict.")
    parser.add_argument("--seconds", type=float, default=180, help="of load and faults (default: 180)")
    parser.add_argument("--rate", type=int, default=300, help="jobs added a second (default: 300)")
    parser.add_argument("--daemons", type=int, default=2, help="(default: 2)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of all chances (default: a new one)")
    parser.add_argument("--fsync", choices=["always", "everysec"], default="always", help="(default: always)")
    parser.add_argument(
        "--lock-duration", type=int, default=15_000, metavar="MS", help="of the daemons (default: 15000)"
    )
    parser.add_argument("--stalled-interval", type=int, default=5_000, metavar="MS", help="(default: 5000)")
    parser.add_argument("--keep", type=Path, help="a new folder for ledgers and logs (default: a temporary one)")
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="corral-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        seconds=args.seconds,
        rate=args.rate,
        daemons=args.daemons,
        seed=args.seed,
        fsync=args.fsync,
        lock_ms=args.lock_duration,
        sweep_ms=args.stalled_interval,
    )
    return plan, folder


def _result(chaos: Chaos, verdict: Verdict) -> str:
    plan, restarts = chaos.plan, verdict.restarts
    load = f"{plan.rate} jobs/s for {chaos.over - chaos.began:.0f} s, {plan.daemons} daemons, appendfsync {plan.fsync}"
    adds = f"{verdict.acked} acked, {verdict.refused} refused, {verdict.unknown} unknown"
    faults = ", ".join(f"{times} {fault}" for fault, times in sorted(chaos.dealt.items()))
    p50, p99 = (at_share(share, restarts) for share in (0.5, 0.99))
    crash = f"p50 {p50:.1f} p99 {p99:.1f} max {max(restarts, default=0):.1f} s of {len(restarts)}"
    return (
        f"load: {load} ({adds}); faults: {chaos.dealt.total()} ({faults}); lost: {verdict.lost}; "
        f"completed twice: {verdict.completed_twice}; restarted: {verdict.restarted}; restart after a crash: {crash}; "
        f"max gap: {verdict.gap:.1f} s; seed: {plan.seed}; {'CHARGED' if verdict.charges else 'no charges'}"
    )


if __name__ == "__main__":
    sys.exit(main())
