"""Findings as they are gathered, and the report that is made of them. Knows no server."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from engine.cli.migrate.catalogue import KINDS, Severity


class Example(Struct, frozen=True, omit_defaults=True):
    """A job, a schedule or a key to which a finding applies, and what is particular of it."""

    id: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.id} ({self.detail})" if self.detail else self.id


class Finding(Struct, frozen=True):
    """`exact`: whether all were counted. Else there are at least `count`."""

    code: str
    severity: Severity
    count: int
    exact: bool
    examples: list[Example]
    what: str
    remedy: str


class Findings:
    """Counts by code, with the first few examples of each."""

    def __init__(self, examples: int) -> None:
        self._most = examples
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[Example]] = {}
        self._inexact: set[str] = set()

    def add(self, code: str, id: str, detail: str = "") -> None:
        self._counts[code] = self._counts.get(code, 0) + 1
        kept = self._examples.setdefault(code, [])
        if len(kept) < self._most:
            kept.append(Example(id, detail))

    def say(self, code: str, count: int, *examples: Example) -> None:
        """A finding that counts what it is not shown one by one."""
        self._counts[code] = count
        self._examples[code] = list(examples[: self._most])

    def at_least(self, code: str) -> None:
        self._inexact.add(code)

    def cut_short(self) -> None:
        """Not all jobs were looked at."""
        self._inexact |= self._counts.keys()

    def __iter__(self) -> Iterator[Finding]:
        """In the order of the catalogue; what differs first."""
        found = [code for code in KINDS if self._counts.get(code)]
        for code in sorted(found, key=lambda code: KINDS[code].severity):
            kind, exact = KINDS[code], code not in self._inexact
            yield Finding(code, kind.severity, self._counts[code], exact, self._examples[code], kind.what, kind.remedy)


class Clients(Struct, frozen=True):
    """Connections of a queue as CLIENT LIST shows them."""

    bullmq_workers: list[str]
    """Their names; empty text for a worker without one."""
    corral_workers: list[str]
    event_listeners: int


class QueueReport(Struct, frozen=True):
    """What was found of one queue. `clients` is None where our user may not ask."""

    queue: str
    version: str
    """What opened it last; empty where nobody wrote it."""
    hints: list[str]
    """What tells which versions of BullMQ have worked on it."""
    paused: bool
    counts: dict[str, int]
    schedules: int
    looked_at: dict[str, int]
    clients: Clients | None
    findings: list[Finding]

    @property
    def differs(self) -> bool:
        return any(finding.severity == "differs" for finding in self.findings)


class Report(Struct, frozen=True):
    prefix: str
    queues: list[QueueReport]
    server: list[Finding]
    elsewhere: dict[str, int]
    """Other prefixes that have queues, and how many."""

    @property
    def differs(self) -> bool:
        return any(finding.severity == "differs" for finding in self.server) or any(one.differs for one in self.queues)
