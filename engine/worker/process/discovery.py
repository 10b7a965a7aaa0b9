"""Loads the target of a command line, MODULE[:NAME]: processors or workers, and the module's DEPENDENCIES and MIDDLEWARE."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from pathlib import Path
from typing import Any

from msgspec import Struct

from engine.errors import InvalidInput, MissingExtra
from engine.middleware import AroundRun
from engine.processor import BaseProcessor, Processor, as_processor
from engine.worker.worker import Worker

_DEFAULT_NAME = "PROCESSORS"


class Target(Struct, frozen=True):
    """What a daemon runs: `workers` as they are, or `processors` in workers that it makes."""

    processors: list[Processor[Any, Any]] = []
    workers: list[Worker] = []
    dependencies: list[Any] = []
    middleware: list[AroundRun] = []


def load_target(target: str) -> Target:
    """Import MODULE[:NAME], also from the current folder. NAME is a processor, a function, a Worker, a list of these,
    or a function without parameters that returns them; PROCESSORS without one.

    Raises InvalidInput if the module or the name is missing or is something else; MissingExtra if the module needs
    packages that are not installed. Any other exception is the module's own.
    """
    module_name, colon, name = target.partition(":")
    if not module_name or (colon and not name):
        raise InvalidInput(f"{target!r} is not MODULE or MODULE:NAME, such as shop.jobs or shop.jobs:send_sms")
    module = _module(module_name)
    found = _unfold(_attribute(module, name or _DEFAULT_NAME), target)
    if not found:
        raise InvalidInput(f"{target}: the list is empty; put at least one processor into it")
    workers = [one for one in found if isinstance(one, Worker)]
    if not workers:
        dependencies, middleware = _listed(module, "DEPENDENCIES"), _listed(module, "MIDDLEWARE")
        return Target([as_processor(one) for one in found], [], dependencies, middleware)
    if len(workers) < len(found):
        raise InvalidInput(
            f"{target}: the list mixes workers and processors; list either the workers or the processors"
        )
    for name in ("DEPENDENCIES", "MIDDLEWARE"):
        if _listed(module, name):
            raise InvalidInput(f"{module_name}: {name} does not reach a Worker; pass Worker({name.lower()}=...)")
    return Target(workers=workers)


def _listed(module: Any, name: str) -> list[Any]:
    given = getattr(module, name, ())
    if not isinstance(given, list | tuple):
        raise InvalidInput(f"{module.__name__}: {name} is {given!r}; write {name} = [...]")
    return list(given)


def _module(name: str) -> Any:
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise _missing(name, error.name or "") from None
    except MissingExtra:
        raise
    except ImportError as error:
        if error.name == "engine" and (shadowed := _own_engine()):
            raise InvalidInput(f"{name}: {error.msg}. {_shadowed(shadowed)}") from None
        raise
    except (TypeError, ValueError) as error:
        # InvalidInput is a ValueError, and the module's to raise: its message says what to do.
        if isinstance(error, InvalidInput) or not name.replace(".", "_").isidentifier():
            raise InvalidInput(f"{name}: {error}") from None
        raise


def _missing(name: str, missing: str) -> InvalidInput:
    if missing.partition(".")[0] == "engine" and (shadowed := _own_engine()):
        return InvalidInput(f"there is no module {missing!r} in Corral's package. {_shadowed(shadowed)}")
    if name == missing or name.startswith(f"{missing}."):
        return InvalidInput(
            f"there is no module {missing!r}: start the worker in the folder that holds it, which {os.getcwd()} is "
            "not, or set PYTHONPATH"
        )
    return InvalidInput(f"{name} needs the module {missing!r}, which is not installed: pip install it")


def _own_engine() -> Path | None:
    """A module `engine` in the current folder that is not this package."""
    for path in (Path.cwd() / "engine.py", Path.cwd() / "engine" / "__init__.py"):
        if path.exists() and path != Path(__file__).parents[2] / "__init__.py":
            return path
    return None


def _shadowed(path: Path) -> str:
    return (
        f"'engine' is the name of Corral's package, which hides {path}: rename it, or move it into a package of yours"
    )


def _attribute(module: Any, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        pass
    found = [key for key, value in vars(module).items() if isinstance(value, Processor | BaseProcessor | Worker)]
    instead = f"or name one: {module.__name__}:{found[0] if found else 'NAME'}"
    raise InvalidInput(
        f"module {module.__name__!r} has no {name}: write {name} = [...] with its processors into {module.__file__}, {instead}"
    )


def _unfold(given: Any, target: str) -> list[Any]:
    if _is_maker(given):
        given = given()
    if inspect.iscoroutine(given):
        given.close()
        raise InvalidInput(f"{target}: a function that returns processors or workers must be a plain `def`")
    return list(given) if isinstance(given, list | tuple) else [given]


def _is_maker(given: Any) -> bool:
    """Whether it is a function to be called for processors: one that can be called without a job."""
    if isinstance(given, Processor | BaseProcessor | type) or not callable(given):
        return False
    try:
        inspect.signature(given).bind()
    except TypeError:
        return False
    return True
