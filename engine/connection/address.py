"""Redis settings: host, login, TLS and timeouts, from a URL, the environment or files. Opens no connection.

Addresses: `redis://user:password@host:port/db`, `rediss://` (TLS), `unix:///path?db=1`, and `embedded:` or
`embedded:FOLDER` for an embedded server. No message and no repr of this module shows a password.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from msgspec import Struct, structs

from engine.errors import InvalidOption
from engine.model.checks import did_you_mean, whole_number
from engine.model.clock import read_duration

_TLS_BY_SCHEME = {"redis": False, "rediss": True, "valkey": False, "valkeys": True}
_FORMS = "redis://user:password@host:6379/0, rediss://host:6379/0 (TLS), unix:///path/redis.sock?db=0 or embedded:"
_SPECIAL = "inside a password write / as %2F, # as %23, ? as %3F, @ as %40 and % as %25"
_TRUTH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class RedisSettings(Struct, frozen=True, kw_only=True):
    """How to connect to one Redis. Raises InvalidOption, with the field and the fix, for a value out of range."""

    host: str = "localhost"
    port: int = 6379
    username: str | None = None
    """None with a password: Redis logs in the user `default`."""
    password: str | None = None
    db: int = 0
    tls: bool = False
    tls_ca: str | None = None
    """A file of certificates to trust instead of the system's."""
    tls_cert: str | None = None
    """A client certificate, with `tls_key` beside it unless the file holds both."""
    tls_key: str | None = None
    tls_verify: bool = True
    """False accepts any certificate: an attacker on the network can then read and change everything."""
    unix_socket: str | None = None
    """A socket's path; host, port and tls are then ignored."""
    embedded: str | None = None
    """Data folder of an embedded server; "" for the default folder, None for no embedded server."""
    connect_timeout: int | timedelta = 5_000
    """Time limit of a connect, in ms or as a timedelta. In a URL also with a unit: `?connect_timeout=5s`."""
    call_timeout: int | timedelta = 10_000
    """Time limit of one call, in ms or as a timedelta."""

    def __post_init__(self) -> None:
        if not isinstance(self.host, str) or not self.host:
            raise InvalidOption(f"redis host: {self.host!r} is not a host; give a name or an IP address")
        whole_number("redis port", self.port, 1, 65535)
        whole_number("redis db", self.db, 0, 2**31 - 1, "a cluster has only 0")
        for name in ("connect_timeout", "call_timeout"):
            value = getattr(self, name)
            ms = round(_seconds(value) * 1000) if isinstance(value, timedelta) else value
            whole_number(f"redis {name}", ms, 1, 86_400_000, "give milliseconds or a timedelta, up to one day")
            structs.force_setattr(self, name, ms)
        if self.tls_key and not self.tls_cert:
            raise InvalidOption("redis tls_key: there is a key and no certificate; give tls_cert too")

    def __repr__(self) -> str:
        return f"RedisSettings({self.shown!r})"

    @property
    def shown(self) -> str:
        """The address without user name and password, for messages."""
        if self.embedded is not None:
            return f"embedded:{self.embedded}"
        if self.unix_socket is not None:
            return f"unix://{self.unix_socket}?db={self.db}"
        return f"{self._scheme}://{self._place}/{self.db}"

    @property
    def url(self) -> str:
        """The address that `parse` reads back into these settings. It holds the password: never show it."""
        if self.embedded is not None:
            return f"embedded:{self.embedded}"
        query = {name: _as_text(value) for name, value in structs.asdict(self).items() if self._asks(name, value)}
        if self.unix_socket is not None:
            query["db"] = str(self.db)
            return f"unix://{self._login}{quote(self.unix_socket)}?{urlencode(query)}"
        return f"{self._scheme}://{self._login}{self._place}/{self.db}{'?' if query else ''}{urlencode(query)}"

    @property
    def connect_seconds(self) -> float:
        """`connect_timeout`, for timers."""
        return _seconds(self.connect_timeout)

    @property
    def call_seconds(self) -> float:
        """`call_timeout`, for timers."""
        return _seconds(self.call_timeout)

    @property
    def _scheme(self) -> str:
        return "rediss" if self.tls else "redis"

    @property
    def _place(self) -> str:
        return f"[{quote(self.host, safe=':')}]:{self.port}" if ":" in self.host else f"{quote(self.host)}:{self.port}"

    @property
    def _login(self) -> str:
        if self.username is None and self.password is None:
            return ""
        secret = "" if self.password is None else f":{quote(self.password, safe='')}"
        return f"{quote(self.username or '', safe='')}{secret}@"

    @staticmethod
    def _asks(name: str, value: object) -> bool:
        return name in _QUERY and name != "db" and value != _DEFAULTS[name]

    @classmethod
    def parse(cls, where: str | RedisSettings | None = None) -> RedisSettings:
        """Settings from a URL. None reads the environment; without settings there it is redis://localhost:6379/0.

        Raises InvalidOption for an address that cannot be read.
        """
        if isinstance(where, RedisSettings):
            return where
        if where is None:
            return cls.from_environment(os.environ)
        if not isinstance(where, str):
            raise InvalidOption(f"redis: {type(where).__name__} is not a URL; write {_FORMS}")
        return cls(**_fields(where.strip()))

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> RedisSettings:
        """Settings from REDIS_URL; REDIS_USERNAME, REDIS_PASSWORD, REDIS_DB and REDIS_TLS add what the URL does not state.

        Without REDIS_URL: from those, REDIS_HOST and REDIS_PORT. An empty variable counts as not set. REDIS_URL_FILE and
        REDIS_PASSWORD_FILE name files that hold the value.
        """
        env = _with_files(env)
        found = {name: env[variable].strip() for name, variable in _VARIABLES.items() if env.get(variable, "").strip()}
        # A password may begin or end with a space; around a host or a number it is a slip of pasting.
        if env.get("REDIS_PASSWORD"):
            found["password"] = env["REDIS_PASSWORD"]
        fields = {name: _value(name, text, f"{_VARIABLES[name]}") for name, text in found.items()}
        url = env.get("REDIS_URL", "").strip()
        if not url:
            return cls(**fields)
        stated = _fields(url)
        if "embedded" in stated:
            return cls(**stated)
        if stated.get("tls") is False:
            del stated["tls"]  # REDIS_TLS=true with a redis:// URL means TLS: the safer of the two.
        fields.pop("host", None)
        fields.pop("port", None)
        return cls(**fields | stated)


def read_secret(name: str, path: str | os.PathLike[str]) -> str:
    """The URL or password in a file, without the line break at its end. `name` is the setting that names the file.

    Raises InvalidOption for a file that is empty or cannot be read.
    """
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidOption(
            f"{name}: {path} cannot be read ({reason}); give the path of a file that holds it"
        ) from None
    if not text.strip():
        raise InvalidOption(f"{name}: {path} is empty; write the value into it")
    return text.rstrip("\r\n")


def _with_files(env: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with the values of the files that it names."""
    read = {}
    for name in ("REDIS_URL", "REDIS_PASSWORD"):
        if path := env.get(f"{name}_FILE", "").strip():
            if env.get(name, "").strip():
                raise InvalidOption(f"{name} and {name}_FILE are both set; unset one of them")
            read[name] = read_secret(f"{name}_FILE", path)
    return {**env, **read}


_VARIABLES = {
    name: f"REDIS_{name.upper()}"
    for name in ("host", "port", "username", "password", "db", "tls", "tls_ca", "tls_cert", "tls_key", "tls_verify")
}
_QUERY = ("db", "tls_ca", "tls_cert", "tls_key", "tls_verify", "connect_timeout", "call_timeout")
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in structs.fields(RedisSettings)}


def _seconds(duration: int | timedelta) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration / 1000


def _fields(url: str) -> dict[str, Any]:
    """The fields that a URL states, and no others."""
    if url.startswith("embedded:"):
        return {"embedded": unquote(url.removeprefix("embedded:").removeprefix("//"))}
    try:
        parts = urlsplit(url)
    except ValueError:
        # Python's own message quotes the URL with its password.
        raise InvalidOption(f"redis URL: the host part cannot be read; write {_FORMS}; {_SPECIAL}") from None
    if parts.scheme not in _TLS_BY_SCHEME and parts.scheme != "unix":
        raise InvalidOption(f"redis URL: {_unknown(parts.scheme)}; write {_FORMS}")
    if parts.fragment or url.endswith("#"):
        raise InvalidOption(f"redis URL: it has a '#'; {_SPECIAL}")
    if "@" in parts.path + parts.query:
        # This may be half a password, so no later check may quote it.
        raise InvalidOption(f"redis URL: it has an '@' after the host part; {_SPECIAL}")
    place = _socket_fields(parts) if parts.scheme == "unix" else _host_fields(parts)
    return place | _login_fields(parts) | _query_fields(parts.query)


def _unknown(scheme: str) -> str:
    return f"unknown scheme {scheme!r}" if scheme else "no scheme"


def _socket_fields(parts: SplitResult) -> dict[str, Any]:
    if parts.netloc.rpartition("@")[2] or not parts.path.startswith("/") or parts.path == "/":
        raise InvalidOption("redis URL: a socket needs its whole path; write unix:///path/redis.sock?db=0")
    return {"unix_socket": unquote(parts.path)}


def _host_fields(parts: SplitResult) -> dict[str, Any]:
    fields: dict[str, Any] = {"tls": _TLS_BY_SCHEME[parts.scheme], "host": unquote(parts.hostname or "localhost")}
    try:
        port = parts.port
    except ValueError:
        raise InvalidOption(f"redis URL: the port is not a number from 1 to 65535; {_SPECIAL}") from None
    if port is not None:
        fields["port"] = port
    path = parts.path.strip("/")
    if path:
        fields["db"] = _value("db", path, "redis URL: db (the part after the host)")
    return fields


def _login_fields(parts: SplitResult) -> dict[str, Any]:
    fields = {}
    if parts.username:
        fields["username"] = unquote(parts.username)
    if parts.password:
        fields["password"] = unquote(parts.password)
    return fields


def _query_fields(query: str) -> dict[str, Any]:
    fields = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name == "family":
            continue  # Node's clients need family=0 for hosts with IPv6; here every address of a host is always tried.
        if name not in _QUERY:
            raise InvalidOption(
                f"redis URL: unknown setting {name!r}; known are {', '.join(_QUERY)}{did_you_mean(name, _QUERY) or f'; {_SPECIAL}'}"
            )
        fields[name] = _value(name, text, f"redis URL: {name}")
    return fields


def _value(name: str, text: str, shown_name: str) -> Any:
    """The value of a field from its text; `shown_name` names it in the error."""
    kind = type(_DEFAULTS[name])
    if kind is bool:
        if text.lower() not in _TRUTH:
            raise InvalidOption(f"{shown_name}: {text!r} is neither true nor false; write true or false")
        return _TRUTH[text.lower()]
    if name.endswith("_timeout"):
        return read_duration(shown_name, text)
    if kind is int and not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidOption(f"{shown_name}: {text!r} is not a number; write digits, such as {_DEFAULTS[name]}")
    return int(text) if kind is int else text


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
