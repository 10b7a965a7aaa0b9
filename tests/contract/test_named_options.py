"""Every command and option that a message, a help text, a page or a deployment file names exists."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.cli import _parser
from engine.worker.process.arguments import worker_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "docker-compose.yml", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = sorted((ROOT / "engine").rglob("*.py"))

FOREIGN = {
    "--appendonly", "--appendfsync", "--save", "--maxmemory-policy", "--hash-max-listpack-value",  # a Redis server's
    "--bind", "--dir", "--logfile", "--port", "--unixsocket", "--unixsocketperm",
    "--web", "--with-scheduler",  # saq's and rq's, in the guides for moving over
    "--no-cache-dir", "--create-home", "--uid",  # in the image of docker-compose.yml
}  # fmt: skip
"""Options of other programs."""

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w-])")
COMMAND = re.compile(r"(?:\bcorral|python -m engine) ([a-z][a-z-]*)\b([^`\n]*)")


def commands() -> dict[str, set[str]]:
    """Command -> its options."""
    (known,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    return {name: options(parser) for name, parser in known.choices.items()} | {"worker": options(worker_parser())}


def options(parser: argparse.ArgumentParser) -> set[str]:
    return {option for action in parser._actions for option in action.option_strings}


COMMANDS = commands()
KNOWN = set().union(*COMMANDS.values()) | FOREIGN | {"--version"}


def texts(path: Path) -> Iterator[str]:
    """The text of a page; of a module its string constants, docstrings among them."""
    if path.suffix != ".py":
        yield path.read_text()
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def named(text: str) -> Iterator[tuple[str, str]]:
    """(command, what follows it) in code: between backticks, or on an indented line."""
    code = re.findall(r"`([^`\n]+)`", text) + [line for line in text.splitlines() if line.startswith("  ")]
    for piece in code:
        for found in COMMAND.finditer(piece):
            yield found[1], found[2]


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_named_exists(path: Path) -> None:
    for text in texts(path):
        assert set(OPTION.findall(text)) <= KNOWN
        for command, rest in named(text):
            assert command in COMMANDS, f"corral {command}{rest}"
            assert set(OPTION.findall(rest)) <= COMMANDS[command], f"corral {command}{rest}"


def test_a_name_that_does_not_exist_is_found() -> None:
    assert list(named("use `corral stats --all` here")) == [("stats", " --all")]
    assert list(named("\n    $ python -m engine why 7\n")) == [("why", " 7")]
    assert "--all" not in COMMANDS["stats"]
    assert "why" not in COMMANDS


def test_the_compose_file_runs_commands_that_exist() -> None:
    found = re.findall(r'command: \["corral", "([a-z-]+)"(.*)\]', (ROOT / "docker-compose.yml").read_text())
    assert [name for name, _ in found] == ["worker"]
    assert set(OPTION.findall(found[0][1])) <= COMMANDS["worker"]
