"""Lost connections, lost replies, dead servers, wrong logins: the error that the caller gets, on both kinds of link."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha1

import pytest

from engine.connection import Connection
from engine.connection.embedded import EmbeddedServer
from engine.errors import AuthFailed, ConnectFailed, OutcomeUnknown
from tests.connection.conftest import OpenLink
from tests.support.proxy import Proxy

Until = Callable[[Callable[[], bool], str], Awaitable[None]]


def through(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}"


async def test_a_lost_reply_is_an_unknown_outcome(opened: OpenLink, proxy: Proxy) -> None:
    link = await opened(through(proxy), call_timeout=600, connect_timeout=100)
    await link.call("SET", "n", 0)
    proxy.drop_replies = True
    with pytest.raises(OutcomeUnknown, match="no reply came within the timeout; the command was sent"):
        await link.call("INCR", "n")
    with pytest.raises(ConnectFailed, match=r"did not answer the greeting|no answer|was lost"):
        await link.call("PING")
    proxy.drop_replies = False
    assert await link.call("GET", "n") == b"1"
    assert proxy.requests.count(b"INCR") == 1


async def test_a_server_that_hangs_is_given_up_at_the_deadline(opened: OpenLink, proxy: Proxy) -> None:
    link = await opened(through(proxy), call_timeout=300)
    proxy.hold_requests = True
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        await link.call_many([("PING",), ("PING",)])
    assert 0.25 < time.monotonic() - began < 1.5


@pytest.mark.parametrize("hidden", ["requests", "replies"])
async def test_no_call_outlives_its_deadline(opened: OpenLink, proxy: Proxy, hidden: str) -> None:
    """A call that was sent, one that waits for a connection, and the opening of one. The test's own deadlines make a failure of
    a call that hangs."""
    link = await opened(through(proxy), call_timeout=300, connect_timeout=200)
    setattr(proxy, f"hold_{hidden}", True)
    async with asyncio.timeout(5):
        with pytest.raises(OutcomeUnknown, match="no reply came within the timeout"):
            await link.call("PING")
        with pytest.raises(ConnectFailed, match=r"did not answer the greeting|no answer|was lost"):
            await link.call("PING")
        with pytest.raises(ConnectFailed):
            await opened(through(proxy), connect_timeout=200)
    setattr(proxy, f"hold_{hidden}", False)
    async with asyncio.timeout(10):
        while True:
            with suppress(
                ConnectFailed, OutcomeUnknown
            ):  # a try of a busy machine may take longer than these short limits
                assert await link.call("PING") == b"PONG"
                break


async def test_a_slow_line_is_not_a_lost_one(opened: OpenLink, proxy: Proxy) -> None:
    link = await opened(through(proxy), call_timeout=1_000)
    proxy.latency = 0.05
    for n in range(5):
        assert await link.call("ECHO", n) == b"%d" % n
    assert proxy.accepted == 1


async def test_a_reset_within_a_command_is_an_unknown_outcome(opened: OpenLink, proxy: Proxy) -> None:
    link = await opened(through(proxy))
    await link.call("DEL", "k")
    proxy.cut_after = len(proxy.requests) + 20
    with pytest.raises(OutcomeUnknown):
        await link.call("SET", "k", "x" * 100)
    proxy.cut_after = None
    assert await link.call("GET", "k") is None


async def test_the_line_comes_back_by_itself_and_hooks_tell(opened: OpenLink, proxy: Proxy, until: Until) -> None:
    link = await opened(through(proxy))
    told: list[str] = []
    link.on_connect.append(lambda: told.append("up"))
    link.on_disconnect.append(lambda: told.append("down"))
    assert link.connected
    await proxy.reset()
    if isinstance(link, Connection):
        await until(lambda: told == ["down", "up"], "the line is back without a call")
    assert await link.call("PING") == b"PONG"
    await until(lambda: told == ["down", "up"], "the hooks have told")
    assert link.connected


async def test_calls_made_while_the_server_restarts_wait_for_it(opened: OpenLink, server: EmbeddedServer) -> None:
    script = "return 'loaded'"
    link = await opened(server.url, prelude=[("SCRIPT", "LOAD", script)])
    await asyncio.to_thread(server.stop)
    calls = [asyncio.create_task(link.call("EVALSHA", sha1(script.encode()).hexdigest(), 0)) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.to_thread(server.start)
    results = await asyncio.gather(*calls, return_exceptions=True)
    # redis-py may have written one before it noticed.
    assert results[1:] == [b"loaded"] * 19
    assert results[0] == b"loaded" or isinstance(results[0], OutcomeUnknown)


async def test_a_killed_server_leaves_calls_under_way_unknown(opened: OpenLink, server: EmbeddedServer) -> None:
    link = await opened(server.url)
    call = asyncio.create_task(link.call("BLPOP", "nothing", 20))
    await asyncio.sleep(0.05)
    await asyncio.to_thread(server.kill)
    with pytest.raises(OutcomeUnknown):
        await call
    await asyncio.to_thread(server.start)
    assert await link.call("PING") == b"PONG"


async def test_a_lost_server_fails_calls_in_the_call_timeout(opened: OpenLink, server: EmbeddedServer) -> None:
    link = await opened(server.url, call_timeout=400)
    await asyncio.to_thread(server.stop)
    await asyncio.sleep(0)
    began = time.monotonic()
    results = await asyncio.gather(*(link.call("PING") for _ in range(3)), return_exceptions=True)
    took = time.monotonic() - began
    assert {type(result) for result in results} == {ConnectFailed}
    assert f"127.0.0.1:{server.port}" in str(results[-1])
    assert "start a server" in str(results[-1])
    assert took < 2.0


async def test_a_cancelled_call_that_was_not_sent_is_never_sent(opened: OpenLink, server: EmbeddedServer) -> None:
    link = await opened(server.url)
    await link.call("DEL", "k")
    await asyncio.to_thread(server.stop)
    await asyncio.sleep(0)
    call = asyncio.create_task(link.call("SET", "k", 1))
    await asyncio.sleep(0.01)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await asyncio.to_thread(server.start)
    assert await link.call("EXISTS", "k") == 0


async def test_a_refused_connect_fails_with_the_fix(opened: OpenLink) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConnectFailed, match=f"127.0.0.1:{port}/0: nothing listens there; start a server"):
            await opened(f"redis://127.0.0.1:{port}")


async def test_no_socket_fails_the_first_connect_with_a_remedy(opened: OpenLink) -> None:
    with pytest.raises(ConnectFailed, match="the socket does not exist"):
        await opened("unix:///nowhere/v.sock")


async def test_a_black_hole_fails_the_first_connect_in_time(opened: OpenLink, proxy: Proxy) -> None:
    proxy.hold_requests = True
    with pytest.raises(ConnectFailed, match=r"no (reply|answer)"):
        await opened(through(proxy), connect_timeout=300)


async def test_wait_retries_the_first_connect(
    opened: OpenLink, server: EmbeddedServer, proxy: Proxy, until: Until
) -> None:
    await asyncio.to_thread(server.stop)
    opening = asyncio.ensure_future(opened(through(proxy), wait=True))
    await until(lambda: proxy.accepted > 1, "two connects have been tried in vain")
    assert not opening.done()
    await asyncio.to_thread(server.start)
    assert await (await opening).call("PING") == b"PONG"


async def test_logins_are_checked_and_failures_say_what_to_do(opened: OpenLink) -> None:
    with EmbeddedServer(
        tcp=True, extra_args=["--user", "ann", "on", ">right", "~*", "+@all", "--requirepass", "hunter2"]
    ) as locked:
        place = f"127.0.0.1:{locked.port}"
        for good in (f"redis://:hunter2@{place}", f"redis://default:hunter2@{place}/1", f"redis://ann:right@{place}"):
            assert await (await opened(good)).call("SET", "k", 1) == b"OK"
        with pytest.raises(AuthFailed, match="put the password into REDIS_PASSWORD"):
            await opened(f"redis://{place}")
        with pytest.raises(AuthFailed, match="check user name and password") as wrong:
            await opened(f"redis://ann:hunter3@{place}")
        assert "hunter3" not in str(wrong.value)


async def test_a_password_that_the_server_lacks_fails_the_login(opened: OpenLink, server: EmbeddedServer) -> None:
    with pytest.raises(AuthFailed):
        await opened(f"redis://:p@127.0.0.1:{server.port}")


async def test_a_database_that_is_not_there_fails_the_connect(opened: OpenLink, server: EmbeddedServer) -> None:
    with pytest.raises(ConnectFailed, match=r"refuses database 9999 .* 0 always exists"):
        await opened(server.url, db=9999)


async def test_each_database_is_its_own(opened: OpenLink, redis_url: str) -> None:
    zero, one = await opened(redis_url), await opened(redis_url, db=1)
    await one.call("SET", "k", "one")
    assert (await zero.call("GET", "k"), await one.call("GET", "k")) == (None, b"one")
