"""The server's address as docket needs it."""

from __future__ import annotations

from talk import url


def docket_url() -> str:
    """docket leaves the number of connections to its client, whose 100 are too few for a concurrency of 100."""
    return f"{url()}{'&' if '?' in url() else '?'}max_connections=2000"
