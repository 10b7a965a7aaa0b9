"""Cron patterns as BullMQ's own library reads them: ours gives the same times, or the check of a keyspace says that it does not."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from typing import Any

import pytest

from engine.cli.migrate.schedule_rules import FoundSchedule, schedule_rules
from engine.model.cron import Cron
from tests.interop.side import modules, need

FROM = 1_795_485_219_557
TIMES = 8
SCRIPT = """
const cron = require('cron-parser');
const parse = cron.parseExpression ?? ((pattern, options) => cron.CronExpressionParser.parse(pattern, options));
const { patterns, from, times } = JSON.parse(require('node:fs').readFileSync(0));
const read = (pattern) => {
  try {
    const found = parse(pattern, { currentDate: new Date(from), tz: 'UTC' });
    return Array.from({ length: times }, () => found.next().getTime());
  } catch {
    return null;
  }
};
console.log(JSON.stringify(patterns.map(read)));
"""

DAYS = ["*", "?", "1,15", "L", "*/2", "1-7"]
WEEKDAYS = ["*", "0", "7", "MON-FRI", "5L", "FRIL", "1#2", "*/2"]
OTHERS = [
    "*/15 * * * *", "5,35 8-10 * * mon,wed", "*/30 15 3 * * *", "0 0 1 2 *", "0 0 L JAN-MAR *", "0 0 1 */5 *", "@hourly", "@daily", "@weekly",
    "@monthly", "@yearly", "@weekdays", "@weekends", "H H * * *", "9 * *", "0 0 LW * *", "0 0 15W * *", "0 9 * * 6-1", "60 * * * *",
]  # fmt: skip


def _patterns() -> list[str]:
    return [f"0 9 {day} * {weekday}" for day, weekday in itertools.product(DAYS, WEEKDAYS)] + OTHERS


@pytest.mark.parametrize("version", ["5.63.0", "6.7.0"])
def test_a_pattern_has_the_same_times_or_is_reported(version: str) -> None:
    need(version)
    patterns = _patterns()
    ran = subprocess.run(
        ["node", "-e", SCRIPT],
        input=json.dumps({"patterns": patterns, "from": FROM, "times": TIMES}),
        env=os.environ | {"NODE_PATH": str(modules(version))},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    theirs: list[list[int] | None] = json.loads(ran.stdout)
    told = {pattern: {code for code, _ in schedule_rules(_stored(pattern), FROM)} for pattern in patterns}
    accepted = [(pattern, times) for pattern, times in zip(patterns, theirs, strict=True) if times is not None]
    assert len(accepted) > 50
    untold = [pattern for pattern, times in accepted if not told[pattern] and _ours(pattern) != times]
    needless = [pattern for pattern, times in accepted if "schedule-days" in told[pattern] and _ours(pattern) == times]
    assert (untold, needless) == ([], [])


def _stored(pattern: str) -> FoundSchedule:
    fields: dict[str, Any] = {"name": "n", "pattern": pattern, "tz": "UTC", "ic": "1"}
    return FoundSchedule("s", FROM, fields, has_run=True)


def _ours(pattern: str) -> list[int]:
    return list(itertools.islice(Cron(pattern, "UTC").after(FROM), TIMES))
