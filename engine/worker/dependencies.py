"""Dependency injection: arguments of processors beside the job, opened at start, closed after the last job, found by type."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from typing import Any, get_args, get_origin

from engine.errors import InvalidInput, InvalidOption
from engine.processor import Processor, hints_of

_WAYS = "give an instance, or `async def pool() -> AsyncIterator[Pool]` that yields it once"
_TAKES = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Dependencies:
    """A worker's dependencies, resolved and checked when the worker is created.

    Raises InvalidOption or InvalidInput if something is no dependency, if two have one type, if one is missing, or if they form
    a cycle.
    """

    def __init__(self, given: Sequence[Any] | None, processors: Sequence[Processor[Any, Any]]) -> None:
        if not isinstance(given, list | tuple | None):
            raise InvalidOption(f"dependencies: {given!r} is not a list; {_WAYS}")
        self._sources = _in_order([_Source(one) for one in given or ()])
        self._needs = {
            processor: _needs(processor.function, self._sources, repr(processor), skip=1) for processor in processors
        }
        for processor, needs in self._needs.items():
            if needs and processor.run_in == "process":
                raise InvalidOption(
                    f"dependencies: {processor!r} runs in a child process, where they are not open; make them there, or leave "
                    f"{', '.join(needs)} out"
                )

    def __repr__(self) -> str:
        return f"<Dependencies {', '.join(source.name for source in self._sources) or 'none'}>"

    async def open(self, stack: AsyncExitStack) -> Callable[[Processor[Any, Any]], Processor[Any, Any]]:
        """Open all in the order of their needs; `stack` closes them. Returns a function that binds a processor to its own."""
        opened: dict[_Source, Any] = {}
        for source in self._sources:
            needed = {name: opened[needs] for name, needs in source.needs.items()}
            opened[source] = await source.open(stack, needed)

        def bound(processor: Processor[Any, Any]) -> Processor[Any, Any]:
            needs = self._needs[processor]
            if not needs:
                return processor
            own = copy(processor)
            own.function = functools.partial(
                processor.function, **{name: opened[source] for name, source in needs.items()}
            )
            return own

        return bound


class _Source:
    """One dependency: where it comes from, of which type it is, which others it needs."""

    def __init__(self, given: Any) -> None:
        self.given = given
        self.needs: dict[str, _Source] = {}
        # A function with @asynccontextmanager above it is the generator function below.
        self.function = inspect.unwrap(given) if inspect.isroutine(given) else None
        if self.function is None:
            if isinstance(given, type):
                raise InvalidOption(f"dependencies: {given.__name__} is a class; {_WAYS}")
            self.type: Any = type(given)
            self.name = f"an instance of {self.type.__name__}"
        else:
            self.name = self.function.__qualname__
            self.type = _yielded(self.function)

    async def open(self, stack: AsyncExitStack, needed: Mapping[str, Any]) -> Any:
        if self.function is None:
            return self.given
        manager = asynccontextmanager(self.function)(**needed)
        value = await manager.__aenter__()
        # Not entered as a context: the code after the yield runs, also if the worker ends with an error.
        stack.push_async_callback(manager.__aexit__, None, None, None)
        return value

    def is_a(self, wanted: Any) -> bool:
        if self.type == wanted:
            return True
        return isinstance(self.type, type) and isinstance(wanted, type) and _is_subclass(self.type, wanted)


def _yielded(function: Callable[..., Any]) -> Any:
    """X of a generator function that is annotated AsyncIterator[X]."""
    if not inspect.isasyncgenfunction(function):
        raise InvalidOption(f"dependencies: {function!r} is not a generator function; {_WAYS}")
    hint = hints_of(function).get("return")
    if get_origin(hint) not in (AsyncIterator, AsyncGenerator, AsyncIterable) or not get_args(hint):
        raise InvalidOption(f"dependencies: {function!r} does not say what it yields; {_WAYS}")
    return get_args(hint)[0]


def _in_order(sources: list[_Source]) -> list[_Source]:
    """Sorted so that each comes after its needs, otherwise in the order passed."""
    for number, source in enumerate(sources):
        for other in sources[:number]:
            if source.type == other.type:
                raise InvalidOption(
                    f"dependencies: {other.name} and {source.name} are both {_word(source.type)}; the type chooses one, so "
                    "leave one out, or give it a type of its own"
                )
    for source in sources:
        if source.function is not None:
            source.needs = _needs(source.function, sources, f"the dependency {source.name}")
    ordered: list[_Source] = []
    for source in sources:
        _place(source, ordered, [])
    return ordered


def _place(source: _Source, ordered: list[_Source], path: list[_Source]) -> None:
    if source in ordered:
        return
    if source in path:
        circle = [one.name for one in [*path[path.index(source) :], source]]
        raise InvalidOption(f"dependencies: {' needs '.join(circle)}; none of them can be opened first")
    for needed in source.needs.values():
        _place(needed, ordered, [*path, source])
    ordered.append(source)


def _needs(function: Callable[..., Any], sources: Sequence[_Source], who: str, *, skip: int = 0) -> dict[str, _Source]:
    """Which dependency fills which parameter. A parameter with a default may have none."""
    hints: dict[str, Any] | None = None
    needs: dict[str, _Source] = {}
    for parameter in list(inspect.signature(function).parameters.values())[skip:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if hints is None:
            hints = hints_of(function)
        found = [source for source in sources if parameter.name in hints and source.is_a(hints[parameter.name])]
        exact = [source for source in found if source.type == hints[parameter.name]]
        if len(exact or found) > 1:
            raise InvalidOption(
                f"dependencies: {who}: {parameter.name!r} may be {' or '.join(source.name for source in found)}; annotate it "
                "with the type of one of them"
            )
        if found and parameter.kind in _TAKES:
            needs[parameter.name] = (exact or found)[0]
        elif parameter.default is parameter.empty:
            raise _unfilled(parameter, hints, sources, who)
    return needs


def _unfilled(
    parameter: inspect.Parameter, hints: Mapping[str, Any], sources: Sequence[_Source], who: str
) -> InvalidInput:
    if parameter.kind not in _TAKES:
        return InvalidOption(f"dependencies: {who}: {parameter.name!r} is passed by name; write no `/` behind it")
    if parameter.name not in hints:
        return InvalidOption(
            f"dependencies: {who}: {parameter.name!r} has no type; annotate it with that of one of the worker's dependencies"
        )
    held = ", ".join(_word(source.type) for source in sources) or "none"
    return InvalidOption(
        f"dependencies: {who}: {parameter.name!r} wants {_word(hints[parameter.name])}, and there is {held}; "
        f"add it to Worker(dependencies=[...])"
    )


def _word(kind: Any) -> str:
    return kind.__qualname__ if isinstance(kind, type) else str(kind)


def _is_subclass(kind: type, wanted: type) -> bool:
    try:
        # object is everything's base: who annotates with it wants nothing in particular.
        return wanted is not object and issubclass(kind, wanted)
    except TypeError:  # a Protocol with attributes cannot be asked
        return False
