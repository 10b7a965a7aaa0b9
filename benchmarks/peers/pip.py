"""Installs a Python rival into an environment of its own, benchmarks/.peers/NAME, from the requirements.txt in its folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.npm import HOME

_HERE = Path(__file__).parent


def command(name: str, program: str) -> tuple[str, ...]:
    """Runs PROGRAM.py of the rival's folder with the Python of its environment."""
    return (str(HOME / name / "bin" / "python"), str(_HERE / name / f"{program}.py"))


def environment() -> dict[str, str]:
    """What the rivals' programs have in common is found by them, and nothing else of this repository. Not the folder above:
    that it holds folders with the names of the libraries would hide these."""
    return {"PYTHONPATH": str(_HERE / "common")}


def install(name: str) -> None:
    """Install unless the same requirements were installed before."""
    wanted = _HERE / name / "requirements.txt"
    home = HOME / name
    have = home / "requirements.txt"
    if have.is_file() and have.read_bytes() == wanted.read_bytes():
        return
    print(f"installing {name} into {home} ...", file=sys.stderr)
    home.parent.mkdir(parents=True, exist_ok=True)
    # Debian's Python has no ensurepip; the pip that runs us can install into another environment.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", str(home)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "-q"]
    subprocess.run([*pip, "--disable-pip-version-check", "-r", str(wanted)], check=True, stdout=sys.stderr)
    shutil.copy(wanted, have)
