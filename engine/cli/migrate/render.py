"""The report of a check as text."""

from __future__ import annotations

from collections.abc import Iterator
from shutil import get_terminal_size
from textwrap import wrap

from engine.cli.migrate.findings import Clients, Finding, QueueReport, Report
from engine.cli.printing import counted
from engine.worker.process.logs import one_line

_INDENT = " " * 11


def render(report: Report) -> Iterator[str]:
    """The lines of the report."""
    for finding in report.server:
        yield from _finding(finding)
    for queue in report.queues:
        yield from _queue(queue)
        yield ""
    if not report.queues:
        yield f"no queues with prefix {report.prefix!r}"
    if report.elsewhere:
        there = ", ".join(f"{prefix!r} ({count})" for prefix, count in report.elsewhere.items())
        yield f"queues with other prefixes: {there}; check them with --prefix"
    yield _sum(report)


def _width() -> int:
    return min(get_terminal_size().columns, 120)


def _queue(queue: QueueReport) -> Iterator[str]:
    yield f"{queue.queue}{', paused' if queue.paused else ''}"
    jobs = ", ".join(f"{count:,} {state}" for state, count in queue.counts.items() if count)
    schedules = f", {counted(queue.schedules, 'schedule')}" if queue.schedules else ""
    yield f"  jobs     {jobs or 'none'}{schedules}"
    if queue.hints:
        yield f"  signs    {one_line('; '.join(queue.hints))}"
    yield f"  clients  {_clients(queue.clients)}"
    partly = [state for state, checked in queue.checked.items() if checked < queue.counts.get(state, 0)]
    if partly:
        yield f"  checked  {', '.join(f'{queue.checked[state]:,} {state}' for state in partly)}"
    for finding in queue.findings:
        yield from _finding(finding)


def _clients(clients: Clients | None) -> str:
    if clients is None:
        return "unknown: the user may not run CLIENT LIST"
    names = [name for name in clients.bullmq_workers if name]
    named = f" ({one_line(', '.join(names[:5]))}{', ...' if len(names) > 5 else ''})" if names else ""
    return (
        f"{counted(len(clients.bullmq_workers), 'BullMQ worker')}{named}, "
        f"{counted(len(clients.corral_workers), 'Corral worker')}, {counted(clients.event_listeners, 'event listener')}"
    )


def _finding(finding: Finding) -> Iterator[str]:
    count = f"{'' if finding.exact else 'at least '}{finding.count:,}"
    yield f"  {finding.severity:<7}  {finding.code}: {count}"
    for text, mark in ((finding.what, ""), (finding.remedy, "-> ")):
        yield from wrap(text, _width(), initial_indent=_INDENT + mark, subsequent_indent=_INDENT + " " * len(mark))
    for example in finding.examples:
        yield f"{_INDENT}- {one_line(str(example))}"


def _sum(report: Report) -> str:
    differs = sum(one.severity == "differs" for one in report.server)
    notes = 0
    for queue in report.queues:
        differs += sum(finding.severity == "differs" for finding in queue.findings)
        notes += sum(finding.severity == "note" for finding in queue.findings)
    return f"{counted(len(report.queues), 'queue')}: {counted(differs, 'difference')}, {counted(notes, 'note')}"
