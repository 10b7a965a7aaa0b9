"""Finding the processors that a command line names, and what their module gives the worker beside them. Knows modules and attributes, nothing of Redis."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from typing import Any

from engine.errors import InvalidInput, MissingExtra
from engine.processor import BaseProcessor, Processor, as_processor

_DEFAULT_NAME = "PROCESSORS"


def load_list(target: str, name: str) -> list[Any]:
    """What the module of MODULE[:NAME] lists as `name` (DEPENDENCIES, MIDDLEWARE); nothing if it says nothing."""
    module_name = target.partition(":")[0]
    given = getattr(_module(module_name), name, ())
    if not isinstance(given, list | tuple):
        raise InvalidInput(f"{module_name}: {name} is {given!r}; write {name} = [...]")
    return list(given)


def load_processors(target: str) -> list[Processor[Any, Any]]:
    """The processors that MODULE[:NAME] stands for; modules of the current folder are found too.

    Raises InvalidInput if there is no such module or name, or if it is no processor; MissingExtra if the module needs
    packages that are not installed. Any other exception is the module's own.
    """
    module_name, colon, name = target.partition(":")
    if not module_name or (colon and not name):
        raise InvalidInput(f"{target!r} is not MODULE or MODULE:NAME, such as shop.jobs or shop.jobs:send_sms")
    given = _attribute(_module(module_name), name or _DEFAULT_NAME)
    found = [as_processor(one) for one in _unfold(given, target)]
    if not found:
        raise InvalidInput(f"{target}: the list of processors is empty; put at least one into it")
    return found


def _module(name: str) -> Any:
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise InvalidInput(
                f"there is no module {missing!r}: start the worker in the folder that holds it, which {os.getcwd()} is "
                "not, or set PYTHONPATH"
            ) from None
        raise InvalidInput(f"{name} needs the module {missing!r}, which is not installed: pip install it") from None
    except MissingExtra:
        raise
    except (TypeError, ValueError) as error:
        # InvalidInput is a ValueError, and the module's to raise: its message says what to do.
        if isinstance(error, InvalidInput) or not name.replace(".", "_").isidentifier():
            raise InvalidInput(f"{name}: {error}") from None
        raise


def _attribute(module: Any, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        pass
    found = [key for key, value in vars(module).items() if isinstance(value, Processor | BaseProcessor)]
    instead = f"or say {module.__name__}:{found[0]}" if found else f"or say {module.__name__}:NAME"
    raise InvalidInput(
        f"module {module.__name__!r} has no {name}: write {name} = [...] with its processors into it, {instead}"
    )


def _unfold(given: Any, target: str) -> list[Any]:
    if _is_maker(given):
        given = given()
    if inspect.iscoroutine(given):
        given.close()
        raise InvalidInput(f"{target}: a function that returns processors must be a plain `def`")
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
