"""The guides for those who come from elsewhere: their tables name what there is, all of it, and their examples run."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import FlowProducer, Job, JobOptions, Queue, QueueEvents, Schedules, Worker, errors, events
from tests.support.running import running

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = sorted(DOCS.glob("from-*.md"))
BULLMQ = (DOCS / "from-bullmq.md").read_text()
_WORD = re.compile(r"`([^`]+)`")


def section(title: str) -> str:
    """What stands below a heading of the guide for BullMQ's users."""
    return re.split(r"\n## ", BULLMQ.partition(f"\n## {title}\n")[2])[0]


def named(text: str, column: int = 2) -> list[str]:
    """The words in code type in a column of the tables, ours being the second."""
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    return [word for row in rows for word in _WORD.findall(row[column])]


def options(function: Any, *without: str) -> set[str]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = [name for name, each in inspect.signature(function).parameters.items() if each.kind in kinds]
    return {name for name in found if name not in ("self", *without)}


@pytest.mark.parametrize(
    ("title", "there"),
    [
        ("Job options", set(JobOptions.__struct_fields__)),
        ("Worker options", options(Worker.__init__, "queue_name")),
        ("Queue options", options(Queue.__init__, "name")),
    ],
)
def test_the_tables_of_options_name_each_option_once(title: str, there: set[str]) -> None:
    found = named(section(title))
    assert sorted(found) == sorted(there)


def test_the_tables_of_methods_name_each_public_method() -> None:
    owners = {"queue": Queue, "job": Job, "flows": FlowProducer, "events": QueueEvents, "schedules": Schedules}
    found = {word for word in named(BULLMQ) if word.partition(".")[0] in owners and "." in word}
    there = {f"{word}.{name}" for word, kind in owners.items() for name in _public(kind)}
    assert found == there


def _public(kind: type) -> Iterator[str]:
    for name in vars(kind):
        value = inspect.getattr_static(kind, name)
        if name.startswith("_") or inspect.ismemberdescriptor(value):
            continue
        # What a job says of itself is no method of BullMQ's either.
        if kind is Job and isinstance(value, property):
            continue
        yield name


def test_the_table_of_schedules_names_each_option() -> None:
    found = {word for word in named(section("Job schedulers")) if "." not in word}
    assert found == options(Schedules.upsert, "id", "name", "data")


def test_the_tables_of_errors_and_events_name_what_there_is() -> None:
    found = named(section("Errors and events"))
    names = {name for name, kind in vars(events).items() if inspect.isclass(kind) and issubclass(kind, events.Event)}
    said = set(found) - {"events"}
    assert said & names == names - {"Event"}
    assert all(hasattr(errors, name) for name in said - names), said - names


def _examples(guide: Path) -> list[str]:
    blocks = re.findall(r"^```python\n(.*?)^```", guide.read_text(), re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "from engine import" in block]


@pytest.mark.asyncio(loop_factories=["uvloop"])
@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
async def test_what_a_guide_shows_of_ours_runs(
    guide: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has processors and a `main` that adds a job and prints its result, as a reader would try it."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    (example,) = _examples(guide)
    module: dict[str, Any] = {"__name__": guide.stem}
    exec(compile(example, str(guide), "exec"), module)
    async with running(Worker("mail", *module["PROCESSORS"])):
        main = module["main"]
        await (main() if inspect.iscoroutinefunction(main) else asyncio.to_thread(main))
    assert capsys.readouterr().out == "Hello Ann\n"


def test_every_guide_leads_to_files_that_are_there() -> None:
    wrong = [
        f"{guide.name}: {target}"
        for guide in GUIDES
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", guide.read_text())
        if not (DOCS / target).exists()
    ]
    assert wrong == []
    assert {guide.stem for guide in GUIDES} == {f"from-{name}" for name in ("bullmq", "arq", "saq", "rq", "celery")}
