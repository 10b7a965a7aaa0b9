"""Imports point down, and rooms do not import each other in a circle."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import engine

ROOT = Path(__file__).parents[2]

ORDER: list[str] = []
for floor in (
    "errors model connection scripting scripts",
    "events results metrics job middleware processor batching dead_letters schedules queue flows queue_events",
    "sync settings worker service testing cli __main__",
):
    ORDER += floor.split()
"""A module of `engine/` imports from those before it; a folder stands for all in it. A new module is put here."""

PUBLIC = {"engine.connection.embedded", "engine.testing"}
"""Modules that are public as they are."""

BEHIND = (
    "benchmarks/ours/bare_",
    "benchmarks/micro/",
    *(f"benchmarks/scenarios/{name}.py" for name in ("micro", "growth", "floor", "longest")),
)
"""What measures the engine without its upper floors, and so has to look behind the public names."""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """The modules that a file imports: `from engine import clock` is engine.model.clock if there is such a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: a relative import"
            assert node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = (ROOT / inner.replace(".", "/")).is_dir() or (
                    ROOT / f"{inner.replace('.', '/')}.py"
                ).is_file()
                # `from engine import processor` is the public name, not the module behind it.
                is_name = node.module == "engine" and alias.name in engine.__all__
                ours = node.module.partition(".")[0] == "engine"
                yield node.lineno, inner if ours and is_module and not is_name else node.module


ENGINE = sorted(path for path in (ROOT / "engine").rglob("*.py") if path != ROOT / "engine" / "__init__.py")


def place(path: Path) -> str:
    return path.relative_to(ROOT / "engine").with_suffix("").parts[0]


def inside(path: Path) -> str:
    """A module's name below `engine`: worker.loops.wake."""
    return ".".join(path.relative_to(ROOT / "engine").with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str:
    """The folder that a module is in, such as worker.loops; the module itself where it stands in `engine/`."""
    if (ROOT / "engine" / module.replace(".", "/")).is_dir() or "." not in module:
        return module
    return module.rpartition(".")[0]


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_those_before_it(path: Path) -> None:
    own = place(path)
    assert own in ORDER, f"engine/{own} has no place: give it one in ORDER of tests/contract/test_imports.py"
    wrong = []
    for line, module in imports(path):
        top, _, rest = module.partition(".")
        assert top not in ("processors", "benchmarks", "tests"), f"{path}:{line}: the engine imports {top}"
        if top != "engine":
            continue
        target, _, inner = rest.partition(".")
        assert not target or target in ORDER, f"engine/{target} has no place in ORDER"
        if target == own:
            # What the bindings share has no script of its own; the bindings are strangers to each other.
            if own == "scripts" and (ROOT / "lua" / f"{inner}.lua").exists():
                wrong.append(f"line {line}: {module} is a sibling")
        elif not target:
            wrong.append(f"line {line}: the public names are for those outside; import the module")
        elif ORDER.index(target) > ORDER.index(own):
            wrong.append(f"line {line}: {module} stands above {own}")
    assert wrong == []


def test_modules_import_each_other_in_no_circle() -> None:
    """Imports behind TYPE_CHECKING and inside functions count."""
    assert circle(lambda module: module, apart=lambda own, target: own != target) == []


def test_rooms_import_each_other_in_no_circle() -> None:
    """A room and a room inside it may use each other, as `worker` and `worker.loops` do."""

    def apart(own: str, target: str) -> bool:
        return not f"{own}.".startswith(f"{target}.") and not f"{target}.".startswith(f"{own}.")

    assert circle(room, apart) == []


def circle(of: Callable[[str], str], apart: Callable[[str, str], bool]) -> list[str]:
    """The first circle of imports among the modules, or among what `of` makes of them; empty without one."""
    below: dict[str, set[str]] = {}
    for path in ENGINE:
        own = of(inside(path))
        targets = {of(module.removeprefix("engine.")) for _, module in imports(path) if module.startswith("engine.")}
        below.setdefault(own, set()).update(target for target in targets if apart(own, target))
    try:
        TopologicalSorter(below).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("folder", ["processors", "benchmarks", "examples"])
def test_those_outside_import_public_names_only(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in sorted((ROOT / folder).glob("[!.]*/**/*.py"))
        for line, module in imports(path)
        if module.startswith("engine.") and module not in PUBLIC and not str(path.relative_to(ROOT)).startswith(BEHIND)
    ]
    assert wrong == [], "import from `engine`"
