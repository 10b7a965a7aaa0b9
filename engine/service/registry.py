"""ServiceRegistry: the functions and service methods that generic tasks may call, checked against their type hints.

Everything is resolved when it is registered. Names in a payload are only looked up in dictionaries: nothing is imported, and
no attribute is read by a name from a job. Knows neither queues nor jobs.
"""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from engine.errors import BadParameters, InvalidData, InvalidInput, UnknownTask
from engine.model import codec


class TaskContext(Struct, frozen=True, kw_only=True):
    """The tenant, user and job of a generic task. A callable gets it in a parameter annotated `TaskContext`, with any name."""

    sub_account_id: str
    """The tenant."""
    user_id: str | None = None
    task_name: str = ""
    job_id: str = ""
    """The same in every attempt, so it can serve as an idempotency key."""
    values: Mapping[str, Any] = {}
    """The job's `context`, as passed to `execute_task` or `execute_service_method`."""


class ServiceRegistry:
    """The services and functions that generic tasks may call, by name.

        registry = ServiceRegistry()
        registry.register_service("ContactsService", contacts, methods=["sync"])
        registry.register_function("generateReport", generate_report)

    Parameters are passed by position and converted to their annotations by msgspec; a parameter without an annotation gets
    the JSON value. Coroutine functions run on the event loop, plain functions in a thread.
    """

    def __init__(self) -> None:
        self._services: dict[str, dict[str, _Target]] = {}
        self._functions: dict[str, _Target] = {}

    def __repr__(self) -> str:
        return f"ServiceRegistry({', '.join(self.names()) or 'empty'})"

    def names(self) -> list[str]:
        """Registered functions and methods, sorted: "ContactsService.sync", "generateReport"."""
        methods = [f"{service}.{method}" for service, held in self._services.items() for method in held]
        return sorted([*self._functions, *methods])

    def register_service(
        self, name: str, instance: object, methods: Iterable[str] | Mapping[str, str] | None = None
    ) -> None:
        """Make methods of `instance` callable as service `name`.

        methods: a list of names, or a mapping from the name in jobs to the attribute: {"syncWithGHL": "sync_with_ghl"}. None
        takes every public method of the instance's class. Raises InvalidInput for a name that is taken, a missing or
        private method, or a signature that a job cannot fill.
        """
        self._refuse_taken(name, self._services, "service")
        chosen = _attributes(name, instance, methods)
        if not chosen:
            raise InvalidInput(
                f"service {name!r}: {type(instance).__name__} has no public method; list some in methods="
            )
        self._services[name] = {
            word: _inspect(f"{name}.{word}", _method(name, instance, attribute)) for word, attribute in chosen.items()
        }

    def register_function(self, name: str, function: Callable[..., Any]) -> None:
        """Make `function` callable as `name`. Raises InvalidInput for a name that is taken or a signature that a job cannot fill."""
        self._refuse_taken(name, self._functions, "function")
        if not callable(function):
            raise InvalidInput(f"function {name!r}: {type(function).__name__} is not callable")
        self._functions[name] = _inspect(name, function)

    async def call_service(self, service: str, method: str, parameters: Sequence[Any], context: TaskContext) -> Any:
        """Call a registered method. Raises UnknownTask or BadParameters before the call, else what the method raises."""
        held = self._services.get(service)
        if held is None:
            raise UnknownTask(f"service {service!r} is not registered; registered are: {_listing(self._services)}")
        target = held.get(method)
        if target is None:
            raise UnknownTask(f"service {service!r} has no method {method!r} registered; it has: {_listing(held)}")
        return await target.run(parameters, context)

    async def call_function(self, function: str, parameters: Sequence[Any], context: TaskContext) -> Any:
        """Call a registered function. Raises UnknownTask or BadParameters before the call, else what the function raises."""
        target = self._functions.get(function)
        if target is None:
            raise UnknownTask(f"function {function!r} is not registered; registered are: {_listing(self._functions)}")
        return await target.run(parameters, context)

    def _refuse_taken(self, name: str, held: Mapping[str, Any], what: str) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidInput(f"{what} name: expected text that is not empty, got {name!r}")
        if name in held:
            raise InvalidInput(f"{what} {name!r} is already registered; choose another name")


class _Parameter(Struct, frozen=True):
    name: str
    kind: Any
    required: bool

    def convert(self, label: str, value: Any) -> Any:
        field = f"{label}, parameter {self.name!r}"
        try:
            # Through JSON, so that dates, sets and keys that are not text are converted as in a job's data.
            return codec.decode(field, codec.encode(field, value), self.kind)
        except InvalidData as error:
            raise BadParameters(str(error)) from None


class _Target(Struct, frozen=True):
    label: str
    call: Callable[..., Any]
    parameters: tuple[_Parameter, ...]
    rest: _Parameter | None
    context_name: str | None
    is_async: bool

    async def run(self, parameters: Sequence[Any], context: TaskContext) -> Any:
        arguments = self._bind(parameters)
        keywords = {self.context_name: context} if self.context_name else {}
        if self.is_async:
            return await self.call(*arguments, **keywords)
        result = await asyncio.to_thread(self.call, *arguments, **keywords)
        return await result if inspect.isawaitable(result) else result

    def _bind(self, values: Sequence[Any]) -> list[Any]:
        required = sum(parameter.required for parameter in self.parameters)
        most = None if self.rest else len(self.parameters)
        if len(values) < required or (most is not None and len(values) > most):
            raise BadParameters(f"{self.label} takes {self._signature()}, got {len(values)} parameters")
        slots = [*self.parameters, *([self.rest] * (len(values) - len(self.parameters)) if self.rest else [])]
        return [slot.convert(self.label, value) for slot, value in zip(slots, values, strict=False) if slot]

    def _signature(self) -> str:
        words = [parameter.name if parameter.required else f"{parameter.name}?" for parameter in self.parameters]
        return f"({', '.join([*words, *([f'*{self.rest.name}'] if self.rest else [])])})"


def _inspect(label: str, function: Callable[..., Any]) -> _Target:
    positional: list[_Parameter] = []
    rest = context_name = None
    for parameter in _signature_of(label, function).parameters.values():
        if _is_context(parameter.annotation):
            context_name = _context_name(label, parameter)
        elif parameter.kind is parameter.VAR_POSITIONAL:
            rest = _parameter(label, parameter)
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise InvalidInput(
                f"{label}: parameter {parameter.name!r} is keyword-only; jobs give parameters by position"
            )
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            if context_name:
                raise InvalidInput(
                    f"{label}: put {parameter.name!r} before the TaskContext, which is passed by its name"
                )
            positional.append(_parameter(label, parameter))
    is_async = _is_async(function)
    return _Target(label, function, tuple(positional), rest, context_name, is_async)


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _signature_of(label: str, function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function, eval_str=True)
    except NameError as error:
        raise InvalidInput(
            f"{label}: {error}; type hints of a registered callable must be importable at run time"
        ) from None
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{label}: {error}; wrap it in a function with type hints") from None


def _parameter(label: str, parameter: inspect.Parameter) -> _Parameter:
    kind = Any if parameter.annotation is parameter.empty else parameter.annotation
    try:
        msgspec.json.schema(kind)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{label}: parameter {parameter.name!r} has a type that jobs cannot carry ({error}); "
            "use JSON types, Structs or dataclasses, or leave this method out of methods="
        ) from None
    return _Parameter(parameter.name, kind, parameter.default is parameter.empty)


def _is_context(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, types.UnionType):
        return TaskContext in get_args(annotation)
    return annotation is TaskContext


def _context_name(label: str, parameter: inspect.Parameter) -> str:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise InvalidInput(f"{label}: the TaskContext is passed by name; make {parameter.name!r} a plain parameter")
    return parameter.name


def _attributes(name: str, instance: object, methods: Iterable[str] | Mapping[str, str] | None) -> dict[str, str]:
    if isinstance(methods, str):
        raise InvalidInput(f"service {name!r}: methods is one text; give a list: methods=[{methods!r}]")
    if isinstance(methods, Mapping):
        return dict(methods)
    if methods is not None:
        return {method: method for method in methods}
    held = {word: value for klass in type(instance).__mro__[:-1] for word, value in vars(klass).items()}
    return {word: word for word, value in held.items() if _is_method(value) and not word.startswith("_")}


def _is_method(held: object) -> bool:
    return isinstance(held, types.FunctionType | staticmethod | classmethod)


def _method(name: str, instance: object, attribute: str) -> Callable[..., Any]:
    if not attribute.isidentifier() or attribute.startswith("_"):
        raise InvalidInput(f"service {name!r}: {attribute!r} cannot be registered; name a public method")
    method = getattr(instance, attribute, None)
    if not callable(method):
        raise InvalidInput(f"service {name!r}: {type(instance).__name__} has no method {attribute!r}")
    return method  # type: ignore[no-any-return]


def _listing(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
