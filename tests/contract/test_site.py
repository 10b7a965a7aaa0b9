"""The documentation's site: it builds without a warning, broken links end the build, the reference has every public name."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import engine

ROOT = Path(__file__).parents[2]

with_properdocs = pytest.mark.skipif(
    importlib.util.find_spec("properdocs") is None, reason="properdocs is not installed: pip install --group docs"
)


def build(docs: Path, site: Path) -> subprocess.CompletedProcess[str]:
    config = docs / "site" / "mkdocs.yml"
    command = [sys.executable, "-m", "properdocs", "build", "--strict", "-f", str(config), "-d", str(site)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)


@with_properdocs
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    built = build(ROOT / "docs", tmp_path)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "index.html").exists()
    reference = (tmp_path / "reference.html").read_text()
    assert [name for name in engine.__all__ if f'id="engine.{name}"' not in reference] == []


@with_properdocs
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_broken_links_and_anchors_end_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs)
    (docs / "index.md").write_text("# Home\n\n[a](gone.md) [b](queues.md#gone) [c](../gone.py)\n")
    built = build(docs, tmp_path / "site")
    assert built.returncode == 1
    for words in ("'gone.md'", "'#gone'", "no file gone.py"):
        assert words in built.stderr


def test_the_reference_names_each_public_name_once() -> None:
    found = re.findall(r"^::: engine\.(\w+)$", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE)
    assert sorted(found) == sorted(engine.__all__)
