"""E-mail templates in folders: NAME.subject, NAME.txt, NAME.html. Knows nothing of SMTP or jobs.

Templates run in a sandbox, text from data is escaped in HTML, and a value that the data lacks is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from engine import errors

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

PACKAGED = Path(__file__).parent / "templates"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Rendered(Struct, frozen=True):
    """A rendered template; None for a part that the template does not have."""

    subject: str | None
    text: str | None
    html: str | None


class Templates:
    """The templates of several folders; for the same name the first folder wins."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._environments: dict[Path, ImmutableSandboxedEnvironment] = {}

    def names(self) -> list[str]:
        """Names of the templates that have a text or an HTML part."""
        found = (path for folder in self._folders for path in folder.glob("*") if path.suffix in (".txt", ".html"))
        return sorted({path.stem for path in found if _NAME.fullmatch(path.stem)})

    def render(self, name: str, data: Mapping[str, Any]) -> Rendered:
        """Render template `name`. Raises UnrecoverableError if it does not exist, or does not fit the data."""
        folder = self._folder_of(name)
        subject = self._part(folder, name, "subject", data)
        text, html = self._part(folder, name, "txt", data), self._part(folder, name, "html", data)
        return Rendered(subject.strip() if subject is not None else None, text, html)

    def _folder_of(self, name: str) -> Path:
        # All parts come from one folder: a folder that overrides the text must not be sent with another's HTML.
        if _NAME.fullmatch(name):
            for folder in self._folders:
                if any((folder / f"{name}.{part}").is_file() for part in ("txt", "html")):
                    return folder
        there = ", ".join(self.names()) or "none"
        raise errors.UnrecoverableError(f"template {name!r} does not exist; use one of {there}")

    def _part(self, folder: Path, name: str, part: str, data: Mapping[str, Any]) -> str | None:
        path = folder / f"{name}.{part}"
        if not path.is_file():
            return None
        try:
            return self._environment(folder).get_template(path.name).render(dict(data))
        except errors.MissingExtra:
            raise
        except Exception as error:  # whatever a template and its data come to now, they come to at the next attempt too
            raise errors.UnrecoverableError(
                f"template {path.name!r} cannot be rendered with this templateData: {error}"
            ) from None

    def _environment(self, folder: Path) -> ImmutableSandboxedEnvironment:
        if folder not in self._environments:
            self._environments[folder] = _environment([folder, *self._folders])
        return self._environments[folder]


def _environment(folders: Sequence[Path]) -> ImmutableSandboxedEnvironment:
    try:
        from jinja2 import FileSystemLoader, StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise errors.MissingExtra("filling e-mail templates", "email") from None
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(folders),
        undefined=StrictUndefined,
        autoescape=lambda name: name is not None and name.endswith(".html"),
    )
