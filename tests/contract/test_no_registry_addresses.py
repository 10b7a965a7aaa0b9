"""No file names a package registry: where packages come from is the business of whoever installs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

_ADDRESS = re.compile(
    rb"https?://[^\s\"'<>)]*(?:pypi|pythonhosted|npmjs|yarnpkg|registry|artifactory|nexus|crates\.io|rubygems)[^\s\"'<>)]*",
    re.IGNORECASE,
)
_SETTING = re.compile(rb"(?:--|\b)(?:extra-)?index-url\b|^registry=", re.IGNORECASE | re.MULTILINE)
_BINARY = {".png", ".gif", ".ico", ".woff2", ".rdb", ".aof"}


def files() -> list[Path]:
    """What is tracked, or would be: everything but what .gitignore names."""
    said = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    paths = [ROOT / name.decode() for name in said.split(b"\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in _BINARY and path != Path(__file__)]


def test_no_file_names_a_package_registry() -> None:
    found = []
    for path in files():
        text = path.read_bytes()
        for match in (*_ADDRESS.finditer(text), *_SETTING.finditer(text)):
            line = text.count(b"\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {match[0].decode(errors='replace')}")
    assert files()
    assert found == []
