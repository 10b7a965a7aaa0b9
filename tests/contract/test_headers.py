"""Every Lua script says of itself what its binding, the table of moves and the words of the wire say."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

from engine.model import wire
from engine.model.keys import Keys
from engine.model.states import CAUSES, EFFECTS, NO_MOVES, OWN_MOVES
from engine.scripting.loader import Script, compose, lua_folder

ROOT = Path(__file__).parents[2]
VERBS = sorted(path.stem for path in lua_folder().glob("*.lua"))
FRAGMENTS = sorted(path.stem for path in (lua_folder() / "include").glob("*.lua"))

_INCLUDE = re.compile(r"^--@include (\w+)$", re.MULTILINE)
_EVENT = re.compile(r"'event', '([\w-]+)'")
_FUNCTION = re.compile(r"^local function (\w+)", re.MULTILINE)
_COMMENT = re.compile(r"--.*$", re.MULTILINE)


def scripts_in(name: str) -> list[Script]:
    return [
        value for value in vars(importlib.import_module(f"engine.scripts.{name}")).values() if isinstance(value, Script)
    ]


def binding(verb: str) -> Script:
    found = scripts_in(verb)
    assert [script.name for script in found] == [verb], (
        f"engine/scripts/{verb}.py binds lua/{verb}.lua and no other script"
    )
    return found[0]


def code(text: str) -> str:
    return _COMMENT.sub("", text)


def test_each_verb_has_its_three_addresses() -> None:
    modules = {path.stem for path in (ROOT / "engine/scripts").glob("*.py")} - {"__init__"}
    bindings = {name for name in modules if scripts_in(name)}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests/scripts").glob("test_*.py")}
    tests = {name for name in tests if not name.startswith("every_")}
    assert bindings == set(VERBS), "lua/<verb>.lua and engine/scripts/<verb>.py come together"
    assert set(VERBS) - tests == set(), "each has its tests/scripts/test_<verb>.py"
    assert tests - set(VERBS) == set(), "tests/scripts/ holds tests of scripts only"


def test_the_tables_of_moves_name_scripts_and_fragments() -> None:
    assert (OWN_MOVES.keys() | CAUSES.keys()) - set(VERBS) == set()
    assert EFFECTS.keys() - set(FRAGMENTS) == set()


@pytest.mark.parametrize("verb", VERBS)
def test_causes_are_the_fragments_with_effects(verb: str) -> None:
    included = set(_INCLUDE.findall((lua_folder() / f"{verb}.lua").read_text()))
    own = OWN_MOVES.get(verb, NO_MOVES)
    effects = {fragment for fragment in included & EFFECTS.keys() if not EFFECTS[fragment] <= own}
    assert CAUSES.get(verb, frozenset()) == effects


def test_the_drawing_shows_every_move() -> None:
    drawing = (lua_folder() / "README.md").read_text().split("```mermaid\n")[1].split("```")[0]
    names = {"wait": "waiting", "paused": "waiting", "prioritized": "waiting", "waiting-children": "children"}
    names |= {"new": "[*]", "gone": "[*]"}
    moves: dict[tuple[str, str], set[str]] = {}
    for table, marked in ((OWN_MOVES, "{}"), (EFFECTS, "({})")):
        for name, pairs in table.items():
            for source, target in pairs:
                arrow = names.get(source, source), names.get(target, target)
                moves.setdefault(arrow, set()).add(marked.format(name))
    drawn: dict[tuple[str, str], set[str]] = {}
    for source, target, scripts, effects in re.findall(
        r"^ +(\S+) --> (\S+): ([^()\n]*?)(?: \((.*)\))?$", drawing, re.M
    ):
        drawn[source, target] = set(scripts.split(", ")) | {f"({effect})" for effect in effects.split(", ") if effect}
    assert drawn == moves


@pytest.mark.parametrize("verb", VERBS)
def test_a_header_agrees_with_binding_moves_and_events(verb: str) -> None:
    script = binding(verb)  # that the slots agree, it has checked itself
    keys = Keys("q")
    assert script.header.moves == OWN_MOVES.get(verb, NO_MOVES)
    assert script.header.causes == CAUSES.get(verb, frozenset())
    assert script.header.emits <= set(wire.EVENTS)
    assert set(_EVENT.findall(script.body)) <= script.header.emits, "an event that EMITS does not name"
    assert {event for event in script.header.emits if f"'{event}'" not in script.body} == set(), "EMITS names too many"
    assert [name for name in script.keys if not isinstance(getattr(keys, name, None), str)] == []
    assert script.header.returns


@pytest.mark.parametrize("verb", VERBS)
def test_the_slots_are_named_once_at_the_top(verb: str) -> None:
    script = binding(verb)
    own = code((lua_folder() / f"{verb}.lua").read_text().split("]]\n", 1)[1])
    assert "KEYS[" not in own
    assert len(re.findall(r"\bKEYS\b", own)) == 1, "the keys get their names in one line: local a, b = unpack(KEYS)"
    named = re.search(r"^local ([\w,\s]+) = unpack\(KEYS\)$", own, re.MULTILINE)
    if named:
        assert len(named[1].split(",")) == len(script.keys), "as many names as KEYS has"
    else:
        assert "ipairs(KEYS)" in own, "or all are treated alike"


READS_JSON = {
    "add",
    "cancel",
    "notify_parents",
    "finish_adding",
    "finish",
    "turn",
    "fail",
    "remove",
    "remove_deduplication",
}
"""Scripts with an argument that is JSON of the engine's own, and those that read the options of a job that was kept. A payload is
never read."""


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_reads_no_json_and_says_no_users_text_in_errors(verb: str) -> None:
    body = code(binding(verb).body)
    assert verb in READS_JSON or "cjson" not in body
    assert not re.search(r"\bcmsgpack|\bloadstring|\berror_reply", body)
    assert not re.search(r"\berror\((?!')", body), "an error's text is fixed"
    assert not re.search(r"'(KEYS|SMEMBERS|FLUSH\w+|B[LRZ]\w*POP\w*)'", body), "a command that a script never gives"


@pytest.mark.parametrize("verb", VERBS)
def test_only_what_is_used_is_included(verb: str) -> None:
    body = code(compose(verb))
    included = set(_INCLUDE.findall((lua_folder() / f"{verb}.lua").read_text()))
    unused = []
    for fragment in included:
        names = _FUNCTION.findall((lua_folder() / "include" / f"{fragment}.lua").read_text())
        if not any(len(re.findall(rf"\b{name}\b", body)) > 1 for name in names):
            unused.append(fragment)
    assert unused == []


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_is_global(verb: str) -> None:
    body = code(binding(verb).body)
    declared = set(re.findall(r"\bfunction (\w+)", body))
    assert declared == set(re.findall(r"\blocal function (\w+)", body))


def test_no_fragment_is_idle() -> None:
    used = {name for path in lua_folder().rglob("*.lua") for name in _INCLUDE.findall(path.read_text())}
    assert used == set(FRAGMENTS)


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_a_fragment_takes_all_it_needs_as_parameters(fragment: str) -> None:
    text = (lua_folder() / "include" / f"{fragment}.lua").read_text()
    assert not re.search(r"\b(KEYS|ARGV)\b", code(text))
    assert text.startswith("-- "), "it opens with what it does"


@pytest.mark.parametrize("verb", VERBS)
def test_the_server_tells_the_time(verb: str) -> None:
    module = importlib.import_module(f"engine.scripts.{verb}")
    functions = [
        value
        for name, value in vars(module).items()
        if inspect.iscoroutinefunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    assert functions
    for function in functions:
        now = inspect.signature(function).parameters.get("now")
        assert now is not None, f"{function.__name__} has the argument `now`"
        assert (now.default, now.kind) == ("", inspect.Parameter.KEYWORD_ONLY), (
            f"{function.__name__}: now='' by keyword"
        )


def test_no_time_of_a_client_reaches_a_script() -> None:
    told = []
    for path in sorted((ROOT / "engine").rglob("*.py")):
        if path.parent.name == "scripts":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not any(keyword.arg == "now" for keyword in node.keywords):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in VERBS:
                told.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}(now=...)")
    assert told == []
