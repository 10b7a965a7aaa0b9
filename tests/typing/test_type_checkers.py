"""mypy and pyright find the types of what users write, and what is wrong in it: programs that are checked and never run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def mypy(program: Path, folder: Path) -> dict[int, str]:
    """The errors of `mypy --strict`, by line."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(folder), str(program)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    found = re.findall(r"^[^:\n]+:(\d+): error: (.*)$", ended.stdout, re.MULTILINE)
    assert found or "Success" in ended.stdout, ended.stdout + ended.stderr
    return {int(line): message for line, message in found}


def pyright(program: Path, folder: Path) -> dict[int, str]:
    """The errors of pyright in its strict mode, by line. basedpyright is pyright with a Node.js of its own."""
    settings = folder / "pyrightconfig.json"
    settings.write_text(
        json.dumps({"typeCheckingMode": "strict", "include": [str(program)], "extraPaths": [str(ROOT)]})
    )
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "-p",
        str(settings),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    told = json.loads(ended.stdout)
    assert told["summary"]["filesAnalyzed"] == 1, ended.stdout + ended.stderr
    errors = (each for each in told["generalDiagnostics"] if each["severity"] == "error")
    return {each["range"]["start"]["line"] + 1: each["message"] for each in errors}


Check = Callable[[Path, Path], dict[int, str]]
CHECKERS = pytest.mark.parametrize("check", [mypy, pyright])


@pytest.mark.slow
@CHECKERS
@pytest.mark.timeout(300)
def test_what_is_right_is_accepted_with_its_types(check: Check, tmp_path: Path) -> None:
    assert check(HERE / "accepted.py", tmp_path) == {}


@pytest.mark.slow
@CHECKERS
@pytest.mark.timeout(300)
def test_what_is_wrong_is_refused_line_by_line(check: Check, tmp_path: Path) -> None:
    program = HERE / "refused.py"
    wrong = {n for n, line in enumerate(program.read_text().splitlines(), 1) if line.endswith("# refused")}
    found = check(program, tmp_path)
    assert found.keys() == wrong, {
        "not refused": wrong - found.keys(),
        "too much": {n: found[n] for n in found.keys() - wrong},
    }
