"""The check from start to end: finds the queues, scans each, checks the server, makes the report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from engine.cli.migrate.discovery import find_clients, find_queues
from engine.cli.migrate.findings import Example, Finding, Findings, Report
from engine.cli.migrate.scan import QueueScan
from engine.connection import Link, RedisSettings, check_server, open_link
from engine.errors import InvalidOption, ServerError, ServerUnfit
from engine.model.clock import to_ms
from engine.model.keys import Keys


async def check(
    redis: RedisSettings, prefix: str, queues: Sequence[str] = (), *, sample: int | None = None, examples: int = 3
) -> Report:
    """QueueScan at these queues, or all of the prefix. Changes nothing.

    sample: jobs checked in each state; None for all. examples: ids shown for each finding.
    Raises InvalidOption for a queue that does not exist, and what `open_link` raises.
    """
    link = await open_link(redis)
    try:
        return await check_on(link, prefix, queues, sample=sample, examples=examples)
    finally:
        await link.close()


async def check_on(
    link: Link, prefix: str, queues: Sequence[str] = (), *, sample: int | None = None, examples: int = 3
) -> Report:
    """`check` on an open connection."""
    found = await find_queues(link)
    there = found.pop(prefix, [])
    for queue in queues:
        if queue not in there:
            raise InvalidOption(
                f"queue {queue!r} does not exist with prefix {prefix!r}; there are: {', '.join(there) or 'none'}"
            )
    chosen = list(dict.fromkeys(queues)) or there
    clients = await find_clients(link, prefix, chosen)
    now = await _time(link)
    reports = []
    for queue in chosen:
        scan = QueueScan(link, Keys(queue, prefix), now=now, sample=sample, examples=examples)
        reports.append(await scan.report(clients[queue] if clients else None))
    elsewhere = {prefix: len(names) for prefix, names in sorted(found.items())}
    return Report(prefix, reports, await _server(link), elsewhere)


async def _time(link: Link) -> int:
    """The server's time, ms; this machine's where our user may not run TIME."""
    try:
        return int((await link.call("TIME"))[0]) * 1000
    except ServerError:
        return to_ms(datetime.now(UTC))


async def _server(link: Link) -> list[Finding]:
    """What keeps a worker from starting on this server; nothing where our user may not read its settings."""
    found = Findings(1)
    try:
        await check_server(link)
    except ServerUnfit as error:
        found.total("server-unfit", 1, Example("server", str(error)))
    return list(found)
