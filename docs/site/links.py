"""Hook of the site's build: links to files outside docs/ lead to the repository, and a file that is not there is a warning."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
log = logging.getLogger("mkdocs.hooks.links")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    def lead(match: re.Match[str]) -> str:
        path = match[1]
        if not (ROOT / path.partition("#")[0]).exists():
            log.warning("%s: there is no file %s", page.file.src_uri, path)
        return f"]({config['repo_url']}/blob/main/{path})"

    return re.sub(r"\]\(\.\./([^)]+)\)", lead, markdown)
