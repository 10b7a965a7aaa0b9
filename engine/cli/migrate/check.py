"""The whole check: which queues there are, a look at each, and what the server says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from engine.cli.migrate.discovery import find_clients, find_queues
from engine.cli.migrate.findings import Example, Finding, Findings, Report
from engine.cli.migrate.look import Look
from engine.connection import Link, RedisSettings, check_server, open_link
from engine.errors import InvalidOption, ServerError, ServerUnfit
from engine.model.clock import to_ms
from engine.model.keys import Keys


async def check(
    redis: RedisSettings, prefix: str, queues: Sequence[str] = (), *, sample: int | None = None, examples: int = 3
) -> Report:
    """Look at these queues, or all of the prefix. Changes nothing.

    sample: jobs looked at in each state; None for all. examples: ids shown of each finding.
    Raises InvalidOption for a queue that is not there, and what `open_link` raises.
    """
    link = await open_link(redis)
    try:
        return await look_over(link, prefix, queues, sample=sample, examples=examples)
    finally:
        await link.close()


async def look_over(
    link: Link, prefix: str, queues: Sequence[str] = (), *, sample: int | None = None, examples: int = 3
) -> Report:
    """`check` on a link that is there."""
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
        look = Look(link, Keys(queue, prefix), now=now, sample=sample, examples=examples)
        reports.append(await look.report(clients[queue] if clients else None))
    elsewhere = {prefix: len(names) for prefix, names in sorted(found.items())}
    return Report(prefix, reports, await _server(link), elsewhere)


async def _time(link: Link) -> int:
    """The server's, ms; ours where our user may not ask."""
    try:
        return int((await link.call("TIME"))[0]) * 1000
    except ServerError:
        return to_ms(datetime.now(UTC))


async def _server(link: Link) -> list[Finding]:
    """What keeps a worker from starting here; nothing where our user may not ask."""
    found = Findings(1)
    try:
        await check_server(link)
    except ServerUnfit as error:
        found.say("server-unfit", 1, Example("server", str(error)))
    return list(found)
