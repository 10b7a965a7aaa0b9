"""Open a socket to Redis: every address of a host in turn, TLS, unix sockets. Sends no commands."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain, zip_longest
from typing import Any, TypeVar

from engine.connection.address import RedisSettings
from engine.errors import ConnectFailed, InvalidOption

Address = tuple[int, Any]
"""A family such as AF_INET6 and what `socket.connect` takes for it."""
Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]
AnyProtocol = TypeVar("AnyProtocol", bound=asyncio.BaseProtocol)

_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


async def resolve(host: str, port: int) -> Sequence[Address]:
    """Every address of a host, of both families."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, place) for family, _, _, _, place in found]


def tls_context(settings: RedisSettings) -> ssl.SSLContext | None:
    """The TLS context for these settings; None without TLS. Raises InvalidOption for a file that cannot be read."""
    if not settings.tls or settings.unix_socket is not None:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca)
        if settings.tls_cert:
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(f for f in (settings.tls_ca, settings.tls_cert, settings.tls_key) if f)
        raise InvalidOption(f"redis TLS: cannot use {files or 'the system certificates'}: {error}") from None
    if not settings.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def dial(
    settings: RedisSettings,
    protocol: Callable[[], AnyProtocol],
    tls: ssl.SSLContext | None,
    resolver: Resolver = resolve,
) -> AnyProtocol:
    """Connect within `settings.connect_seconds`. Raises ConnectFailed with the address, the reason and the fix."""
    try:
        if settings.unix_socket is not None:
            async with asyncio.timeout(settings.connect_seconds):
                loop = asyncio.get_running_loop()
                _, made = await loop.create_unix_connection(protocol, settings.unix_socket)
            return made
        return await _dial_host(settings, protocol, tls, resolver)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise connect_failed(settings, error) from error


def connect_failed(settings: RedisSettings, error: BaseException) -> ConnectFailed:
    """The ConnectFailed for an error of connecting: the address, the reason, the fix."""
    final = isinstance(error, ssl.SSLCertVerificationError | PermissionError)
    return ConnectFailed(f"cannot reach Redis at {settings.shown}: {_reason(settings, error)}", transient=not final)


async def _dial_host(
    settings: RedisSettings, protocol: Callable[[], AnyProtocol], tls: ssl.SSLContext | None, resolver: Resolver
) -> AnyProtocol:
    loop = asyncio.get_running_loop()
    ends = loop.time() + settings.connect_seconds
    async with asyncio.timeout_at(ends):
        addresses = interleave(await resolver(settings.host, settings.port))
    failures: list[BaseException] = []
    for tried, address in enumerate(addresses):
        now = loop.time()
        try:
            async with asyncio.timeout_at(now + (ends - now) / (len(addresses) - tried)):
                return await _dial_address(settings, protocol, tls, address)
        except ssl.SSLCertVerificationError:
            raise
        except (OSError, TimeoutError) as error:
            failures.append(error)
    raise failures[0] if failures else OSError("the host name has no address")


async def _dial_address(
    settings: RedisSettings, protocol: Callable[[], AnyProtocol], tls: ssl.SSLContext | None, address: Address
) -> AnyProtocol:
    family, place = address
    loop = asyncio.get_running_loop()
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _keep_alive(sock)
        await loop.sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    # From here the transport owns the socket, also when the TLS handshake fails. A server name only goes with TLS.
    name = settings.host if tls else None
    _, made = await loop.create_connection(protocol, sock=sock, ssl=tls, server_hostname=name)
    return made


def _keep_alive(sock: socket.socket) -> None:
    """Enable TCP keepalive, so that a dead peer of an idle connection is noticed in about half a minute."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """Addresses of both families alternately, beginning with the family that the resolver put first."""
    families = list(dict.fromkeys(family for family, _ in addresses))
    columns = [[address for address in addresses if address[0] == family] for family in families]
    return [address for address in chain(*zip_longest(*columns)) if address is not None]


def _reason(settings: RedisSettings, error: BaseException) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not trusted ({error.verify_message}); set tls_ca (or REDIS_TLS_CA) to the file of "
                "its authority, or use the host name that the certificate is made for"
            )
        case ssl.SSLError():
            return f"the TLS handshake failed ({error.reason or error}); use redis:// if the server has no TLS"
        case socket.gaierror():
            return "the host name is not known; check REDIS_URL or REDIS_HOST"
        case ConnectionRefusedError():
            return "nothing listens there; start a server, or set REDIS_URL, or use embedded:"
        case FileNotFoundError():
            return "the socket does not exist; start a server, or check the path"
        case PermissionError():
            return "permission denied; check the permissions of the socket or the firewall"
        case TimeoutError():
            waited = f"no answer within {settings.connect_seconds:g} s"
            return f"{waited}; check host, port and firewall, or raise connect_timeout"
        case _:
            return f"{error or type(error).__name__}; check that host, port and redis:// or rediss:// are right"
