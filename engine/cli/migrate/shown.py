"""The report of a check as people read it."""

from __future__ import annotations

from collections.abc import Iterator

from engine.cli.migrate.findings import Clients, Finding, QueueReport, Report
from engine.worker.process.logs import one_line


def lines(report: Report) -> Iterator[str]:
    """One line after the other, without their ends."""
    for finding in report.server:
        yield from _finding(finding)
    for queue in report.queues:
        yield from _queue(queue)
        yield ""
    if not report.queues:
        yield f"no queues with prefix {report.prefix!r}"
    if report.elsewhere:
        there = ", ".join(f"{prefix!r} ({count})" for prefix, count in report.elsewhere.items())
        yield f"queues with other prefixes: {there}; look at them with --prefix"
    yield _sum(report)


def _queue(queue: QueueReport) -> Iterator[str]:
    yield f"{queue.queue}{', paused' if queue.paused else ''}"
    counted = ", ".join(f"{count:,} {state}" for state, count in queue.counts.items() if count)
    schedules = f", {queue.schedules:,} schedules" if queue.schedules else ""
    yield f"  jobs     {counted or 'none'}{schedules}"
    if queue.hints:
        yield f"  seen     {one_line('; '.join(queue.hints))}"
    yield f"  clients  {_clients(queue.clients)}"
    short = [state for state, looked in queue.looked_at.items() if looked < queue.counts.get(state, 0)]
    if short:
        yield f"  looked   at {', '.join(f'{queue.looked_at[state]:,} {state}' for state in short)}"
    for finding in queue.findings:
        yield from _finding(finding)


def _clients(clients: Clients | None) -> str:
    if clients is None:
        return "unknown: our user may not run CLIENT LIST"
    names = [name for name in clients.bullmq_workers if name]
    named = f" ({one_line(', '.join(names[:5]))}{', ...' if len(names) > 5 else ''})" if names else ""
    return (
        f"{len(clients.bullmq_workers)} workers of BullMQ{named}, {len(clients.corral_workers)} of Corral,"
        f" {clients.event_listeners} listeners to events"
    )


def _finding(finding: Finding) -> Iterator[str]:
    count = f"{'' if finding.exact else 'at least '}{finding.count:,}"
    yield f"  {finding.severity:<7}  {finding.code}: {count}"
    yield f"           {finding.what}"
    yield f"           -> {finding.remedy}"
    for example in finding.examples:
        yield f"           - {one_line(str(example))}"


def _sum(report: Report) -> str:
    differs = sum(one.severity == "differs" for one in report.server)
    notes = 0
    for queue in report.queues:
        differs += sum(finding.severity == "differs" for finding in queue.findings)
        notes += sum(finding.severity == "note" for finding in queue.findings)
    return f"{len(report.queues)} queues: {differs} findings that would behave differently, {notes} worth knowing"
