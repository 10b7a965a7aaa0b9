"""The handshake of a connection, and the errors for a server that refuses it. Sends nothing itself."""

from __future__ import annotations

from collections.abc import Sequence

from engine.connection.address import RedisSettings
from engine.connection.link import Argument, Reply
from engine.errors import AuthFailed, ConnectFailed, ServerError


def greeting(settings: RedisSettings, name: str) -> list[tuple[Argument, ...]]:
    """The commands of the handshake: log in, PING, select the database, set the client name."""
    commands: list[tuple[Argument, ...]] = []
    if settings.username is not None:
        commands.append(("AUTH", settings.username, settings.password or ""))
    elif settings.password is not None:
        commands.append(("AUTH", settings.password))
    commands.append(("PING",))
    if settings.db:
        commands.append(("SELECT", settings.db))
    if name:
        commands.append(("CLIENT", "SETNAME", plain_name(name)))
    return commands


def plain_name(name: str) -> str:
    """A client name that the server accepts: blanks and control characters become '-'."""
    return "".join(letter if "!" <= letter <= "~" else "-" for letter in name)


def refusal(
    settings: RedisSettings, commands: Sequence[Sequence[Argument]], replies: Sequence[Reply]
) -> ConnectFailed | None:
    """The exception for an error among the handshake's replies; None if there is no error."""
    for command, reply in zip(commands, replies, strict=False):
        if not isinstance(reply, ServerError):
            continue
        if is_turned_away(reply):
            return turned_away(settings, reply)
        if reply.code in ("WRONGPASS", "NOAUTH") or (command[0] == "AUTH" and "AUTH" in str(reply)):
            return auth_failed(settings, reply)
        if command[0] == "SELECT":
            return ConnectFailed(
                f"Redis at {settings.shown} refuses database {settings.db} ({reply}); "
                "choose another db; 0 always exists",
                transient=False,
            )
        if command[0] in ("AUTH", "PING") and reply.code != "NOPERM":
            return ConnectFailed(f"Redis at {settings.shown} is not ready ({reply}); try again later")
    return None


def is_turned_away(reply: Reply) -> bool:
    """Whether the reply is a refusal of the connection itself, which the server then closes."""
    return isinstance(reply, ServerError) and (reply.code == "DENIED" or "max number of clients" in str(reply))


def turned_away(settings: RedisSettings, error: ServerError) -> ConnectFailed:
    """The exception for a connection that the server closed with this error before any command."""
    if error.code == "DENIED":
        why = (
            "is in protected mode, which serves only programs on its own machine; give it a password "
            "(CONFIG SET requirepass, or ACL SETUSER), or set protected-mode no"
        )
    elif "max number of clients" in str(error):
        why = "has reached its maxclients; raise maxclients, or close connections (CLIENT LIST)"
    else:
        why = f"refused the connection ({error})"
    return ConnectFailed(f"Redis at {settings.shown} {why}")


def auth_failed(settings: RedisSettings, reason: object) -> AuthFailed:
    """The exception for a server that wants a login, or refuses ours."""
    if settings.password is None and settings.username is None:
        remedy = "put the password into REDIS_PASSWORD, or into the URL as redis://:PASSWORD@host"
    else:
        remedy = "check user name and password (REDIS_USERNAME, REDIS_PASSWORD, or those of the URL)"
    return AuthFailed(f"Redis at {settings.shown} refused the login ({reason}); {remedy}")
