"""README.md and docs/: every block of Python passes `mypy --strict`, every program runs as it stands, every command exists."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine import errors
from tests.support.daemons import daemon
from tests.support.snippets import ROOT, Snippet, commands, pages, snippets

ALL = [snippet for page in pages() for snippet in snippets(page)]
BY_NAME = {snippet.name: snippet for snippet in ALL}
PROGRAMS = [snippet for snippet in ALL if snippet.is_program]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_snippet_passes_mypy(tmp_path: Path) -> None:
    for snippet in ALL:
        _write(tmp_path, snippet)
    config = tmp_path / "mypy.ini"
    config.write_text(
        f"[mypy]\nstrict = True\nmypy_path = {tmp_path / 'files'}:{ROOT}\nexplicit_package_bases = True\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir", str(tmp_path / "cache")]
    ended = subprocess.run([*command, str(tmp_path / "blocks")], cwd=tmp_path, capture_output=True, text=True)
    found = re.findall(r"^(?:.*/)?blocks/(.*)\.py:(\d+): error: (.*)$", ended.stdout, re.MULTILINE)
    wrong = [f"{BY_NAME[name].place(int(line))}: {message}" for name, line, message in found]
    assert wrong == [], "\n".join(wrong)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("snippet", PROGRAMS, ids=lambda snippet: snippet.name)
def test_every_program_runs_as_it_stands(snippet: Snippet, redis_url: str, tmp_path: Path) -> None:
    for other in ALL:
        if other.page == snippet.page and other.file:
            _write(tmp_path, other)
    program = tmp_path / f"{snippet.name}.py"
    program.write_text(snippet.module)
    env = {"REDIS_URL": redis_url, "CORRAL_HOME": str(tmp_path / "home"), "PYTHONPATH": f"{tmp_path / 'files'}:{ROOT}"}
    if snippet.worker is None:
        _run(program, snippet, env)
        return
    with daemon(snippet.worker, log=tmp_path / "log", env=env) as worker:
        _run(program, snippet, env)
        assert worker.stop() == 0, worker.log.read_text()


def _run(program: Path, snippet: Snippet, env: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", str(program)],
        cwd=program.parent,
        env=os.environ | env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        out = ""
        if snippet.goes_on:
            assert snippet.output, f"{snippet.page}:{snippet.line}: a program that goes on needs a block of its output"
            assert process.stdout is not None
            while len(out) < len(snippet.output) and (line := process.stdout.readline()):
                out += line
            process.send_signal(signal.SIGTERM)
        try:
            rest, errors = process.communicate(timeout=50)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == 0, errors
    if snippet.output is not None:
        assert out + rest == snippet.output


COMMANDS = sorted({command for page in pages() for command in commands(page)})


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """Help texts by command, each asked once."""
    return {}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_line_has_its_options(command: str, helps: dict[str, str]) -> None:
    words = shlex.split(command, comments=True)
    if words[0] == "corral":
        words[:1] = ["python", "-m", "engine"]
    called = words[2:4] if words[2] == "engine" else words[2:3]
    if called[-1].startswith("-") or called[-1].isupper():
        called = called[:1]
    options = {word.partition("=")[0] for word in words if re.match(r"--\w", word)}
    key = " ".join(called)
    if key not in helps:
        asked = subprocess.run(
            [sys.executable, "-m", *called, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=50
        )
        assert asked.returncode == 0, asked.stderr
        helps[key] = asked.stdout
    assert options <= set(re.findall(r"--[\w-]+", helps[key]))


def _write(folder: Path, snippet: Snippet) -> None:
    """Write a snippet for mypy: files that blocks import in one folder, the blocks in another."""
    if snippet.file:
        path = folder / "files" / snippet.file
        path.parent.mkdir(parents=True, exist_ok=True)
        assert not path.exists(), (
            f"{snippet.page}:{snippet.line}: another page has a {snippet.file}; choose another name"
        )
        path.write_text(snippet.module)
    (folder / "blocks").mkdir(exist_ok=True)
    (folder / "blocks" / f"{snippet.name}.py").write_text(snippet.module)


def test_the_links_of_the_readme_work_everywhere() -> None:
    """PyPI shows README.md without the repository around it: links are whole addresses, of files that are there."""
    base = "https://github.com/corral-jobs/corral/blob/main/"
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert [link for link in links if not link.startswith("https://")] == []
    paths = [link.removeprefix(base).partition("#")[0] for link in links if link.startswith(base)]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_page_on_errors_names_each() -> None:
    there = {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.CorralError)
    }
    text = (ROOT / "docs" / "errors.md").read_text()
    assert {name for name in there if f"`{name}" not in text} == set()
