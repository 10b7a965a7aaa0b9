"""What users may rely on: the names of `engine`, with their signatures, as tests/golden/public_api.txt has them."""

from __future__ import annotations

import difflib
import enum
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import engine

GOLDEN = Path(__file__).parents[1] / "golden" / "public_api.txt"
HOW = "if meant: CORRAL_GOLDEN=write .venv/bin/pytest tests/contract/test_public_names.py, and a changelog entry"


def test_the_public_names_change_only_on_purpose() -> None:
    now = "".join(f"{line}\n" for line in public())
    if os.environ.get("CORRAL_GOLDEN") == "write":
        GOLDEN.write_text(now)
    was = GOLDEN.read_text() if GOLDEN.exists() else ""
    changes = difflib.unified_diff(was.splitlines(), now.splitlines(), "public_api.txt", "engine", lineterm="", n=0)
    assert now == was, "\n".join([*changes, HOW])


def test_everything_public_is_explained() -> None:
    silent = [name for name in names() if callable(getattr(engine, name)) and not inspect.getdoc(getattr(engine, name))]
    assert silent == [], "a docstring at the public edge gives meaning, units, errors"


def names() -> list[str]:
    return sorted(getattr(engine, "__all__", ()))


def public() -> Iterator[str]:
    for name in names():
        yield from described(name, getattr(engine, name))


def described(name: str, value: Any) -> Iterator[str]:
    if inspect.ismodule(value):
        yield f"{name}: module"
        own = [inner for inner in vars(value).values() if inspect.isclass(inner) and inner.__module__ == value.__name__]
        for inner in sorted(own, key=lambda kind: kind.__name__):
            yield f"  {inner.__name__}({', '.join(base.__name__ for base in inner.__bases__)})"
    elif inspect.isclass(value):
        yield f"{name}{signature(value)}"
        for attribute in sorted(dir(value)):
            if not attribute.startswith("_") and not belongs_elsewhere(value, attribute):
                yield f"  {attribute}{member(value, attribute)}"
    else:
        yield f"{name}{signature(value)}"


def belongs_elsewhere(kind: type, attribute: str) -> bool:
    """Whether the attribute is one of object, an exception or an enum, and not of the engine's."""
    homes = [base for base in kind.__mro__ if attribute in vars(base)]
    return bool(homes) and not homes[0].__module__.startswith(("engine", "processors"))


def member(kind: type, attribute: str) -> str:
    found = inspect.getattr_static(kind, attribute)
    if isinstance(found, staticmethod | classmethod) or inspect.isfunction(found):
        return signature(getattr(kind, attribute))
    return f" = {found.value!r}" if isinstance(found, enum.Enum) else ""


def signature(value: Any) -> str:
    """How it is called. A class shows no types: those of a Struct are spelled otherwise by each version of Python."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    if inspect.isclass(value):
        bare = [each.replace(annotation=inspect.Parameter.empty) for each in found.parameters.values()]
        found = inspect.Signature(bare)
    shown = str(found)
    # What has an address in its repr would change with each run.
    return shown if " at 0x" not in shown else "(...)"
