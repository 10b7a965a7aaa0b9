"""Generic tasks: which functions may be called, and how parameters are checked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal

import pytest

from engine.errors import BadParameters, InvalidInput, UnknownTask, UnrecoverableError
from engine.service.registry import ServiceRegistry, TaskContext

CONTEXT = TaskContext(sub_account_id="1", user_id="u1")


@dataclass
class Box:
    width: int
    label: str = "x"


class Service:
    limit = 3

    def __init__(self) -> None:
        self.calls = 0
        self.callback: Callable[[], str] = lambda: "attribute"

    async def sync(self, count: int) -> int:
        self.calls += count
        return self.calls

    def sync_all(self, context: TaskContext, /) -> None:
        raise AssertionError

    def whoami(self, context: TaskContext | None = None) -> str:
        return context.sub_account_id if context else "nobody"

    @property
    def secret(self) -> str:
        raise AssertionError("a property was read")

    def _private(self) -> str:
        return "private"


def registry(**functions: Callable[..., Any]) -> ServiceRegistry:
    made = ServiceRegistry()
    for name, function in functions.items():
        made.register_function(name, function)
    return made


async def call(function: Callable[..., Any], *parameters: Any) -> Any:
    return await registry(it=function).call_function("it", parameters, CONTEXT)


async def test_methods_run_on_the_registered_instance() -> None:
    service, made = Service(), ServiceRegistry()
    made.register_service("S", service, methods=["sync"])
    assert await made.call_service("S", "sync", [2], CONTEXT) == 2
    assert await made.call_service("S", "sync", [3], CONTEXT) == 5
    assert service.calls == 5


async def test_a_method_can_have_another_name_on_the_wire() -> None:
    made = ServiceRegistry()
    made.register_service("S", Service(), methods={"syncWithGHL": "sync"})
    assert await made.call_service("S", "syncWithGHL", [1], CONTEXT) == 1
    with pytest.raises(UnknownTask, match="no method 'sync' registered; it has: syncWithGHL"):
        await made.call_service("S", "sync", [1], CONTEXT)


def test_without_a_list_only_public_methods_are_registered() -> None:
    class Plain:
        other = staticmethod(len)

        async def one(self) -> None: ...
        def two(self) -> None: ...
        def _three(self) -> None: ...

    made = ServiceRegistry()
    made.register_service("P", Plain())
    assert made.names() == ["P.one", "P.other", "P.two"]


@pytest.mark.parametrize(
    "method",
    ["_private", "__init__", "__class__", "missing", "sync.__call__", "secret", "limit", "callback", "", "sync "],
)
async def test_unregistered_names_are_never_looked_up(method: str) -> None:
    made = ServiceRegistry()
    made.register_service("S", Service(), methods=["sync"])
    with pytest.raises(UnknownTask, match="it has: sync"):
        await made.call_service("S", method, [], CONTEXT)


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "eval", "__import__", "It", "IT", "", "it "])
async def test_names_are_taken_literally_and_never_imported(name: str) -> None:
    made = registry(it=lambda: None)
    with pytest.raises(UnknownTask, match="registered are: it") as caught:
        await made.call_function(name, [], CONTEXT)
    assert isinstance(caught.value, UnrecoverableError)
    with pytest.raises(UnknownTask, match="registered are: none"):
        await made.call_service(name, "x", [], CONTEXT)


async def test_functions_run_in_threads_coroutines_on_the_loop() -> None:
    here = threading.get_ident()

    async def on_loop() -> int:
        return threading.get_ident()

    class Callable_:
        async def __call__(self) -> int:
            return threading.get_ident()

    assert await call(lambda: threading.get_ident()) != here
    assert await call(on_loop) == here
    assert await call(Callable_()) == here
    assert await call(lambda: on_loop()) == here


async def test_parameters_become_what_their_annotations_say() -> None:
    def take(box: Box, when: datetime, by_number: dict[int, set[str]], kind: Literal["a", "b"], *rest: float) -> Any:
        return box, when.year, by_number, kind, rest

    given = [{"width": 3}, "2024-01-01T00:00:00Z", {"7": ["x", "x"]}, "a", 1, 2.5]
    assert await call(take, *given) == (Box(3), 2024, {7: {"x"}}, "a", (1.0, 2.5))


async def test_the_context_is_passed_by_its_type() -> None:
    def first(count: int, on_behalf: TaskContext) -> tuple[int, str]:
        return count, on_behalf.sub_account_id

    def named(context: dict[str, str]) -> dict[str, str]:
        return context

    assert await call(first, 1) == (1, "1")
    assert await call(Service().whoami) == "1"
    assert await call(named, {"a": "b"}) == {"a": "b"}
    with pytest.raises(BadParameters, match="got 2 parameters"):
        await call(first, 1, {"subAccountId": "2"})


async def test_defaults_and_partials_keep_their_meaning() -> None:
    def add(a: int, b: int = 10, *, c: int = 100) -> int:
        return a + b + c

    assert await call(add, 1) == 111
    assert await call(add, 1, 2) == 103
    assert await call(partial(add, 5), 1) == 106


def _two(count: int, names: list[str], flag: bool = False) -> None: ...


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ([], "it takes (count, names, flag?), got 0 parameters"),
        ([1, [], True, 4], "it takes (count, names, flag?), got 4 parameters"),
        (["1", []], "it, parameter 'count': Expected `int`, got `str`"),
        ([1.5, []], "it, parameter 'count': Expected `int`, got `float`"),
        ([True, []], "it, parameter 'count': Expected `int`, got `bool`"),
        ([1, ["a", 2]], "it, parameter 'names': $[1]: Expected `str`, got `int`"),
        ([1, None], "it, parameter 'names': Expected `array`, got `null`"),
        ([1, [], 1], "it, parameter 'flag': Expected `bool`, got `int`"),
    ],
)
async def test_wrong_parameters_name_the_parameter_and_call_nothing(parameters: list[Any], reason: str) -> None:
    with pytest.raises(BadParameters) as caught:
        await call(_two, *parameters)
    assert str(caught.value) == reason


async def test_what_the_function_raises_comes_through() -> None:
    def fail() -> None:
        raise TypeError("its own")

    with pytest.raises(TypeError, match="its own"):
        await call(fail)


@pytest.mark.parametrize(
    ("methods", "reason"),
    [
        (["_private"], "cannot be registered"),
        (["__init__"], "cannot be registered"),
        (["sync.__call__"], "cannot be registered"),
        (["missing"], "has no method 'missing'"),
        (["limit"], "has no method 'limit'"),
        ("sync", r"methods=\['sync'\]"),
        (["sync_all"], "make 'context' a plain parameter"),
        ([], "no public method"),
    ],
)
def test_an_uncallable_method_is_not_registered(methods: Any, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        ServiceRegistry().register_service("S", Service(), methods=methods)


def test_a_signature_that_no_job_can_fill_is_refused() -> None:
    def keyword(*, needed: int) -> None: ...
    def foreign(lock: threading.Event) -> None: ...
    def late(context: TaskContext, count: int) -> None: ...
    def unresolved(value: NotThere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    for function, reason in (
        (keyword, "'needed' is keyword-only"),
        (foreign, "'lock' has a type that jobs cannot carry"),
        (late, "put 'count' before the TaskContext"),
        (unresolved, "must be importable at run time"),
        (3, "is not callable"),
    ):
        with pytest.raises(InvalidInput, match=reason):
            registry(it=function)  # type: ignore[arg-type]


def test_a_name_is_registered_once() -> None:
    made = registry(it=len)
    with pytest.raises(InvalidInput, match="'it' is already registered"):
        made.register_function("it", len)
    made.register_service("it", Service(), methods=["sync"])
    assert repr(made) == "ServiceRegistry(it, it.sync)"
    with pytest.raises(InvalidInput, match="'it' is already registered"):
        made.register_service("it", Service(), methods=["sync"])
    with pytest.raises(InvalidInput, match="not empty"):
        made.register_function("", len)
