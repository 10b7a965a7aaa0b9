"""Installs the npm packages of a rival into benchmarks/.peers/NAME, from the package.json in the rival's folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).parent.parent / ".peers"


def environment(name: str) -> dict[str, str]:
    """Programs find the packages of this rival; rivals that differ only by these may share their programs."""
    return {"NODE_PATH": str(_modules(name)), "NODE_ENV": "production"}


def install(name: str) -> None:
    """Install unless the same package.json was installed before. Needs npm on PATH."""
    wanted = Path(__file__).parent / name / "package.json"
    have = HOME / name / "package.json"
    if _modules(name).is_dir() and have.is_file() and have.read_bytes() == wanted.read_bytes():
        return
    if shutil.which("npm") is None:
        raise SystemExit(f"{name}: npm is not on PATH; install Node.js 20 or later, or leave out --peers")
    print(f"installing {name} into {have.parent} ...", file=sys.stderr)
    have.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(wanted, have)
    npm = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    try:
        subprocess.run(npm, cwd=have.parent, check=True, stdout=sys.stderr)
    except BaseException:
        have.unlink()
        raise


def _modules(name: str) -> Path:
    return HOME / name / "node_modules"
