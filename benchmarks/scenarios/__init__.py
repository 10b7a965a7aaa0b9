"""The scenarios, one a file, listed by hand."""

from __future__ import annotations

from benchmarks.scenario import Scenario
from benchmarks.scenarios.delayed import DELAYED
from benchmarks.scenarios.drain import DRAIN
from benchmarks.scenarios.enqueue import ENQUEUE
from benchmarks.scenarios.floor import FLOOR
from benchmarks.scenarios.growth import GROWTH
from benchmarks.scenarios.latency import LATENCY
from benchmarks.scenarios.longest import LONGEST
from benchmarks.scenarios.many_queues import MANY_QUEUES
from benchmarks.scenarios.memory import MEMORY
from benchmarks.scenarios.micro import MICRO
from benchmarks.scenarios.mixed import MIXED
from benchmarks.scenarios.network import NETWORK
from benchmarks.scenarios.recovery import RECOVERY
from benchmarks.scenarios.retries import RETRIES
from benchmarks.scenarios.scale import SCALE
from benchmarks.scenarios.scale_servers import SCALE_SERVERS

_ALL = (
    ENQUEUE,
    DRAIN,
    MIXED,
    LATENCY,
    DELAYED,
    RETRIES,
    RECOVERY,
    MANY_QUEUES,
    NETWORK,
    SCALE,
    SCALE_SERVERS,
    GROWTH,
    MEMORY,
    MICRO,
    LONGEST,
    FLOOR,
)

SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
