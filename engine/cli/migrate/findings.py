"""Findings: collected during the scan, and the report made of them. No I/O."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from engine.cli.migrate.catalogue import KINDS, Severity


class Example(Struct, frozen=True, omit_defaults=True):
    """A job, schedule or key to which a finding applies, with its details."""

    id: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.id} ({self.detail})" if self.detail else self.id


class Finding(Struct, frozen=True):
    """One kind of difference in a queue. `exact`: whether `count` is the number of all; else there are at least `count`."""

    code: str
    severity: Severity
    count: int
    exact: bool
    examples: list[Example]
    what: str
    remedy: str


class Findings:
    """Collects findings: counts by code, with the first few examples of each."""

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

    def total(self, code: str, count: int, *examples: Example) -> None:
        """Set the count of a finding, for what is not added one by one."""
        self._counts[code] = count
        self._examples[code] = list(examples[: self._most])

    def at_least(self, code: str) -> None:
        self._inexact.add(code)

    def cut_short(self) -> None:
        """Mark all counts as lower bounds: not all jobs were checked."""
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
    """The findings and counts of one queue. `clients` is None where our user may not run CLIENT LIST."""

    queue: str
    version: str
    """The library that opened the queue last; empty if not stored."""
    hints: list[str]
    """Signs of the BullMQ versions that have worked on it."""
    paused: bool
    counts: dict[str, int]
    schedules: int
    checked: dict[str, int]
    clients: Clients | None
    findings: list[Finding]

    @property
    def differs(self) -> bool:
        return any(finding.severity == "differs" for finding in self.findings)


class Report(Struct, frozen=True):
    """The result of `corral migrate check`; with --json it is printed as it is."""

    prefix: str
    queues: list[QueueReport]
    server: list[Finding]
    elsewhere: dict[str, int]
    """Other prefixes that have queues, and how many."""

    @property
    def differs(self) -> bool:
        return any(finding.severity == "differs" for finding in self.server) or any(one.differs for one in self.queues)
