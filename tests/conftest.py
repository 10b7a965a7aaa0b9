"""What every test stands on: a real server for each xdist worker, an empty database for each test, both event loops.

Knows nothing of queues; what needs one is in tests/support/.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from urllib.parse import unquote, urlsplit

import pytest

from engine.connection.embedded import EmbeddedServer, find_server
from tests.support.fixtures import damaged, keys, link, queue, sound_queues  # noqa: F401 - fixtures for all


class _DebugLoop(asyncio.SelectorEventLoop):
    """asyncio's loop in debug mode, whatever the runner asks for: it tells of slow callbacks and lost exceptions."""

    def set_debug(self, enabled: bool) -> None:
        super().set_debug(True)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every async test runs once on each. `@pytest.mark.asyncio(loop_factories=["uvloop"])` asks for one of them."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": _DebugLoop}
    if find_spec("uvloop"):
        import uvloop

        loops["uvloop"] = uvloop.new_event_loop
    return loops


def pytest_report_header() -> str:
    return f"server: {_test_server()}"


def _test_server() -> str:
    """The wheel's server, which is pinned; CORRAL_TEST_SERVER=/path/to/redis-server chooses another."""
    return os.environ.get("CORRAL_TEST_SERVER") or str(find_server(prefer_wheel=True))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedServer]:
    """The server that the tests of one xdist worker share. A test that kills or configures one starts its own."""
    with EmbeddedServer(program=_test_server()) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedServer) -> str:
    """The URL of a server whose every database is empty."""
    redis_server.start()
    _tell(redis_server.unix_url, b"FLUSHALL SYNC")
    return redis_server.url


def _tell(url: str, command: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        line.connect(unquote(urlsplit(url).path))
        line.sendall(command + b"\r\n")
        reply = line.recv(256)
    assert reply == b"+OK\r\n", f"{command!r} was answered {reply!r}"
