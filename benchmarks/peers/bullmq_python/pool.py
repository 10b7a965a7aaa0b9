"""The connections of both programs. The library is given clients: from a URL it would make one connection for all calls."""

from __future__ import annotations

from redis.asyncio import BlockingConnectionPool, Redis

_CONNECTIONS = 500
"""Then a call waits for one. The plain pool has 100 and lets it fail, for which the worker pauses 15 s."""


class Pool:
    def __init__(self, url: str) -> None:
        # The client's own limit is 5 s, which is as long as an idle worker's call blocks.
        self._pool = BlockingConnectionPool.from_url(
            url, decode_responses=True, max_connections=_CONNECTIONS, timeout=None, socket_timeout=None
        )

    def client(self) -> Redis:
        """One more client on the pool. Its owner may close it; the pool stays."""
        return Redis(connection_pool=self._pool)

    async def close(self) -> None:
        await self._pool.aclose()
