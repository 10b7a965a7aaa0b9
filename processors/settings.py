"""Settings of the processors, read from the environment and checked once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

from engine import errors

T = TypeVar("T")

Tls = Literal["auto", "starttls", "tls", "none"]
_SMTP_SCHEMES: dict[str, Tls] = {"smtp": "auto", "smtp+starttls": "starttls", "smtps": "tls"}


class Smtp(Struct, frozen=True, kw_only=True):
    """The mail server. `tls` auto: STARTTLS where the server offers it, and required as soon as there is a password."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: Tls = "auto"
    timeout: float = 30.0
    """Seconds to wait for each reply of the server."""

    def __repr__(self) -> str:
        return f"Smtp({self.host}:{self.port} tls={self.tls} username={self.username})"


class Twilio(Struct, frozen=True, kw_only=True):
    """A Twilio account. `sender` is a phone number, or a messaging service (MG...)."""

    account_sid: str
    auth_token: str
    sender: str
    base_url: str = "https://api.twilio.com"

    def __repr__(self) -> str:
        return f"Twilio({self.account_sid} from {self.sender} at {self.base_url})"


class Settings(Struct, frozen=True, kw_only=True):
    """Settings of all processors; `Settings.load()` reads the environment."""

    smtp: Smtp | None = None
    mail_from: str | None = None
    email_templates: Path | None = None
    """A folder whose templates override the packaged ones."""
    twilio: Twilio | None = None
    """None: text messages are written to the log."""
    export_database_url: str
    storage_dir: Path
    file_max_bytes: int
    """Most bytes that all files of one job may have together."""
    file_max_pixels: int

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the environment. Raises InvalidInput, with the variable and the fix."""
        env = _Environment(environment)
        data = Path("corral-data").resolve()
        templates = env.get("EMAIL_TEMPLATES")
        return cls(
            smtp=_smtp(env),
            mail_from=env.get("MAIL_FROM"),
            email_templates=Path(templates).resolve() if templates else None,
            twilio=_twilio(env),
            export_database_url=env.text("EXPORT_DATABASE_URL", f"sqlite+aiosqlite:///{data / 'export.db'}"),
            storage_dir=Path(env.text("STORAGE_DIR", str(data / "storage"))).resolve(),
            file_max_bytes=env.typed("FILE_MAX_BYTES", int, 1 << 30),
            file_max_pixels=env.typed("FILE_MAX_PIXELS", int, 50_000_000),
        )


class _Environment:
    """Environment variables; an empty one counts as not set."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def get(self, name: str) -> str | None:
        return self._values.get(name, "").strip() or None

    def text(self, name: str, default: str) -> str:
        return self.get(name) or default

    def need(self, name: str, why: str) -> str:
        value = self.get(name)
        if value is None:
            raise errors.InvalidInput(f"{name} is not set: {why}")
        return value

    def typed(self, name: str, kind: type[T] | Any, default: T) -> T:
        value = self.get(name)
        if value is None:
            return default
        try:
            return msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError as error:
            raise errors.InvalidInput(f"{name}={value!r}: {error}") from None


def _smtp(env: _Environment) -> Smtp | None:
    url = env.get("SMTP_URL")
    if url:
        return _smtp_from_url(url)
    host = env.get("SMTP_HOST")
    if host is None:
        return None
    tls: Tls = env.typed("SMTP_TLS", Tls, "auto")
    username = env.get("SMTP_USERNAME")
    port = env.typed("SMTP_PORT", int, _smtp_port(tls, username))
    return Smtp(host=host, port=port, username=username, password=env.get("SMTP_PASSWORD"), tls=tls)


def _smtp_from_url(url: str) -> Smtp:
    # The URL may hold a password, so messages do not repeat it.
    form = "use smtp://user:password@host:587, smtps:// for TLS from the start, smtp+starttls:// to insist on STARTTLS"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise errors.InvalidInput(f"SMTP_URL is not a URL: {form}") from None
    tls = _SMTP_SCHEMES.get(parts.scheme)
    if tls is None or not parts.hostname:
        raise errors.InvalidInput(f"SMTP_URL begins with {parts.scheme!r} or has no host: {form}")
    username = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    port = port or _smtp_port(tls, username)
    return Smtp(host=parts.hostname, port=port, username=username, password=password, tls=tls)


def _smtp_port(tls: Tls, username: str | None) -> int:
    return 465 if tls == "tls" else 587 if username else 25


def _twilio(env: _Environment) -> Twilio | None:
    provider = env.typed("SMS_PROVIDER", Literal["console", "twilio"], "console")
    if provider == "console":
        return None
    why = "SMS_PROVIDER=twilio needs it; Twilio's console shows it"
    return Twilio(
        account_sid=env.need("TWILIO_ACCOUNT_SID", why),
        auth_token=env.need("TWILIO_AUTH_TOKEN", why),
        sender=env.need("TWILIO_FROM", why),
        base_url=env.text("TWILIO_BASE_URL", "https://api.twilio.com").rstrip("/"),
    )
