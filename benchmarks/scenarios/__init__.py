"""The scenarios, one a file, listed by hand."""

from __future__ import annotations

from benchmarks.scenario import Scenario
from benchmarks.scenarios.drain import DRAIN
from benchmarks.scenarios.enqueue import ENQUEUE
from benchmarks.scenarios.latency import LATENCY

SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in (ENQUEUE, DRAIN, LATENCY)}
