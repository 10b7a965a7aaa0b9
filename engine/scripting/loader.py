"""Loads Lua scripts: composes them from fragments, checks their headers against bindings, calls them by digest.

A script is lua/<verb>.lua: a header in a long comment, then the body. `--@include name` is replaced by the
text of lua/include/name.lua. The header's KEYS, ARGV and ROWS are compared with the binding when the binding is made, so the two
cannot drift apart. lua/README.md describes the header.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import re
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from weakref import WeakKeyDictionary, WeakSet

from msgspec import Struct

from engine.connection import UNASKED, Argument, Link, ProducerLink, Reply, Waiter, check_access, elsewhere, not_allowed
from engine.errors import LinkError, ScriptError, ServerBusy, ServerError
from engine.model.keys import Keys
from engine.scripting.key_types import is_wrong_type, name_wrong_key

_INCLUDE = re.compile(r"^--@include (\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*--.*$", re.MULTILINE)
_HEADER = re.compile(r"\A--\[\[\n(.*?)\n\]\]\n", re.DOTALL)
_CALLED = re.compile(r"'([A-Z]{3,}(?:', 'STREAM)?)'")
"""Commands in a script's text. Other words in capitals are options, such as LIMIT, which are not commands of any server."""
_SECTIONS = ("MOVES", "CAUSES", "EMITS", "KEYS", "ARGV", "ROWS", "RETURNS")

logger = logging.getLogger("engine.scripts")

Now = int | str
"""The first argument of every script: "" for the server's own time. Only tests of scripts send another."""


def lua_folder() -> Path:
    """The folder of the scripts: inside an installed wheel, else beside `engine/` in a source tree."""
    package = Path(__file__).parents[1]
    inside = package / "_lua"
    return inside if inside.is_dir() else package.parent / "lua"


class Header(Struct, frozen=True):
    """The parsed header of a script. In the file, each name is followed by its type and meaning."""

    summary: str
    moves: frozenset[tuple[str, str]]
    """Of the jobs that the script is called for."""
    causes: frozenset[str]
    """Effects on other jobs, by their names in `engine.model.states.EFFECTS`."""
    emits: frozenset[str]
    keys: tuple[str, ...]
    args: tuple[str, ...]
    rows: tuple[str, ...]
    returns: str
    types: tuple[str, ...]
    """Types of the keys, in their order."""


class Script:
    """One Lua script and the order of its slots. `await script(link, keys, now, ..., rows=...)` calls it."""

    def __init__(self, name: str, *, keys: str, args: str, rows: str = "") -> None:
        self.name = name
        self.keys = tuple(keys.split())
        self.args = tuple(args.split())
        self.rows = tuple(rows.split())
        self.source = compose(name)
        self.header = read_header(name, self.source)
        self.body = body(self.source)
        """The text sent to the server, without comments, which would only take its memory."""
        self.digest = hashlib.sha1(self.body.encode()).hexdigest()
        for part, declared, bound in (
            ("KEYS", self.header.keys, self.keys),
            ("ARGV", self.header.args, self.args),
            ("ROWS", self.header.rows, self.rows),
        ):
            if declared != bound:
                raise ScriptError(f"lua/{name}.lua has {part} {' '.join(declared)}; its binding has {' '.join(bound)}")
        if self.args[:1] != ("now",):
            raise ScriptError(f"lua/{name}.lua: the first argument is `now`")
        _bound[name] = self

    def __repr__(self) -> str:
        return f"Script({self.name!r})"

    @functools.cached_property
    def commands(self) -> frozenset[str]:
        """The Redis commands that it calls."""
        return frozenset(found.replace("', '", " ") for found in _CALLED.findall(self.body))

    async def __call__(self, link: Link, keys: Keys, *args: Argument, rows: Iterable[Argument] = ()) -> Reply:
        """Call the script. `rows` are its rows, flattened. To a server that does not know it, the text is sent."""
        slots = self._slots(keys, args, rows)
        if _denied and self._is_denied(link):
            await self._check_allowed(link)
        try:
            try:
                return await link.call("EVALSHA", *slots)
            except ServerError as error:
                if error.code != "NOSCRIPT":
                    raise
            # NOSCRIPT is raised before anything runs, so sending again is safe; EVAL loads the script for the next call.
            return await link.call("EVAL", self.body, *slots[1:])
        except ServerError as error:
            if is_wrong_type(error):
                raise await self.name_wrong_key(link, error, slots) from None
            if misplaced := elsewhere(error, keys.pick(self.keys)):
                raise misplaced from None
            raise

    def _is_denied(self, link: Link) -> bool:
        about = _denied.get(link)
        return about is not None and not self.commands.isdisjoint(about[0])

    async def _check_allowed(self, link: Link) -> None:
        """Ask again, because the user may have been granted the right since. Raises ServerUnfit if a command is still denied."""
        if about := _denied.get(link):
            await _ask_access(link, about[1])
        if about and self._is_denied(link):
            raise await not_allowed(link, self.commands & _denied[link][0], _some(about[1]))

    async def name_wrong_key(self, link: Link, error: ServerError, slots: Sequence[Argument]) -> ServerError:
        """The error of a failed call with these slots, with the name of the foreign key if it can be found."""
        keys = dict(zip(self.keys, map(str, slots[2:]), strict=False))
        expected = [
            (keys[name], _TYPES.get(kind, kind))
            for name, kind in zip(self.keys, self.header.types, strict=True)
            if kind != "prefix"
        ]
        if "jobs" in keys:
            expected += [(keys["jobs"] + suffix, kind) for suffix, kind in _APPENDED if self._mentions(suffix)]
            if self.keys == ("jobs",):
                queues = (
                    slots[2 + len(self.keys) + len(self.args) :: len(self.rows)] if self.rows[:1] == ("queue",) else ()
                )
                expected += [
                    (queue + suffix, kind) for queue in {keys["jobs"], *map(str, queues)} for suffix, kind in _FLOW_KEYS
                ]
            if "deduplication" in self.args:
                deduplication = str(slots[2 + len(self.keys) + self.args.index("deduplication")])
                expected.append((keys["jobs"] + "de:" + deduplication, "string"))
            if self.rows[:1] == ("id",):
                rows = [
                    id for id in slots[2 + len(self.keys) + len(self.args) :: len(self.rows)] if isinstance(id, str)
                ]
                expected += [(keys["jobs"] + id + suffix, kind) for id in rows for suffix, kind in _JOB_KEYS]
        return await name_wrong_key(link, error, expected)

    def _mentions(self, suffix: str) -> bool:
        first, second, *_ = suffix.split(":")
        return (f"{first}:{second}" if first == "corral" else first) in self.body

    def post(self, link: Link, waiter: Waiter, keys: Keys, *args: Argument, rows: Iterable[Argument] = ()) -> None:
        """Call the script without waiting: the waiter gets the reply as soon as it is read."""
        slots = self._slots(keys, args, rows)
        posted = _Posted(self, link, waiter, slots)
        if _denied and self._is_denied(link):
            _in_background(self._post_allowed(posted, link, slots))
        else:
            link.post(posted, "EVALSHA", *slots)

    async def _post_allowed(self, posted: _Posted, link: Link, slots: Sequence[Argument]) -> None:
        try:
            await self._check_allowed(link)
        except LinkError as error:
            posted.set_exception(error)
        else:
            link.post(posted, "EVALSHA", *slots)

    def _slots(self, keys: Keys, args: Iterable[Argument], rows: Iterable[Argument]) -> list[Argument]:
        return [self.digest, len(self.keys), *keys.pick(self.keys), *args, *rows]


class _Posted:
    """Wraps a waiter: sends the text of a script that the server does not know, and repeats, on a producer's link, a call that the
    server refused for now.
    """

    __slots__ = ("_link", "_script", "_slots", "_waiter", "done", "set_result")

    def __init__(self, script: Script, link: Link, waiter: Waiter, slots: list[Argument]) -> None:
        self._script = script
        self._link = link
        self._waiter = waiter
        self._slots = slots
        self.done = waiter.done
        self.set_result = waiter.set_result

    def set_exception(self, error: Exception) -> None:
        if isinstance(error, ServerError) and error.code == "NOSCRIPT":
            self._link.post(self._again(), "EVAL", self._script.body, *self._slots[1:])
        elif is_wrong_type(error):
            _in_background(self._explain(error))
        elif (
            isinstance(error, ServerBusy) and isinstance(self._link, ProducerLink) and self._link.call_wait is not None
        ):
            _in_background(self._call_again(self._link, error))
        else:
            self._waiter.set_exception(error)

    def _again(self) -> _Posted:
        return _Posted(self._script, self._link, self._waiter, self._slots)

    async def _call_again(self, link: ProducerLink, error: ServerBusy) -> None:
        try:
            reply = await link.call_again(error, ("EVALSHA", *self._slots))
        except ServerBusy as last:
            self._waiter.set_exception(last)
        except Exception as other:
            self.set_exception(other)
        else:
            self.set_result(reply)

    async def _explain(self, error: ServerError) -> None:
        self._waiter.set_exception(await self._script.name_wrong_key(self._link, error, self._slots))


def _in_background(work: Coroutine[None, None, None]) -> None:
    _tasks.add(task := asyncio.get_running_loop().create_task(work))
    task.add_done_callback(_tasks.discard)


_tasks: set[asyncio.Task[None]] = set()
_TYPES = {"str": "string"}
_APPENDED = (
    ("metrics:completed", "hash"), ("metrics:completed:data", "list"), ("metrics:failed", "hash"), ("metrics:failed:data", "list"),
    ("corral:dead:open", "zset"), ("corral:dead:replayed", "zset"), ("corral:dead:types", "zset"), ("corral:dead:errors", "zset"),
    ("corral:dead:tenants", "zset"), ("corral:dead:alerts", "hash"), ("corral:cancelling", "zset"), ("corral:schedules:looked", "string"),
    ("corral:parents:looked", "string"), ("corral:watch", "string"),
)  # fmt: skip
"""Keys that scripts append to the prefix, with their types."""
_FLOW_KEYS = (
    ("events", "stream"), ("meta", "hash"), ("wait", "list"), ("paused", "list"), ("active", "list"), ("prioritized", "zset"),
    ("delayed", "zset"), ("waiting-children", "zset"), ("marker", "zset"), ("pc", "counter"), ("id", "counter"),
    ("completed", "zset"), ("failed", "zset"), ("repeat", "zset"), ("stalled", "set"),
)  # fmt: skip
"""Keys of each queue that scripts about flows find by the queue's prefix."""
_JOB_KEYS = (
    ("", "hash"), (":logs", "list"), (":dependencies", "set"), (":processed", "hash"), (":failed", "hash"), (":unsuccessful", "zset"),
)  # fmt: skip
"""Suffixes of a job's keys, after its id."""


_CALLING = frozenset(("EVAL", "EVALSHA"))
"""Commands that call a script."""
_bound: dict[str, Script] = {}
_guarded: WeakSet[Link] = WeakSet()
"""Links whose rights were checked."""
_denied: WeakKeyDictionary[Link, tuple[frozenset[str], Keys]] = WeakKeyDictionary()
"""Links whose user may not run everything: the denied commands, and the queue whose keys were checked. Empty in nearly every process,
so that calls are not slowed down."""


def all_scripts() -> list[Script]:
    """Every script whose binding was imported."""
    return list(_bound.values())


async def guard(link: Link, keys: Keys) -> None:
    """Ask the server, once for each link and in one round trip, which commands our user may not run on a queue's keys.

    After this a script that calls such a command raises ServerUnfit, which names the command, and is not sent: it would abort
    halfway, and scripts are not rolled back. Raises ServerUnfit for a replica, and for a cluster's node where these keys
    cannot be used together.
    """
    if link not in _guarded:
        await _ask_access(link, keys)
        _guarded.add(link)


async def _ask_access(link: Link, keys: Keys) -> None:
    commands = _CALLING.union(*(script.commands for script in all_scripts()))
    denied = await check_access(link, commands, _some(keys))
    if denied is None:
        logger.warning("%s", UNASKED)
    elif denied & _CALLING:
        raise await not_allowed(link, denied & _CALLING, _some(keys))
    if denied:
        _denied[link] = denied, keys
    else:
        _denied.pop(link, None)


def _some(keys: Keys) -> list[str]:
    """Two keys of a queue: a cluster without a hash tag spreads them over its slots."""
    return [keys.meta, keys.wait]


def loading(*names: str) -> list[tuple[str, str, str]]:
    """The commands that load these scripts, for a link's prelude: a hot script should not wait for its first NOSCRIPT."""
    return [("SCRIPT", "LOAD", body(compose(name))) for name in names]


@functools.cache
def body(source: str) -> str:
    """A script's text without its header and comments; lines keep their numbers, so that errors name the right one."""
    return _COMMENT.sub("", _HEADER.sub("", source, count=1))


@functools.cache
def compose(name: str) -> str:
    """The text of lua/<name>.lua with its fragments in place."""
    folder = lua_folder()
    seen: set[str] = set()

    def fragment(match: re.Match[str]) -> str:
        if match[1] in seen:
            raise ScriptError(f"lua/{name}.lua includes {match[1]} twice")
        seen.add(match[1])
        text = (folder / "include" / f"{match[1]}.lua").read_text()
        return _INCLUDE.sub(fragment, text.rstrip("\n"))

    return _INCLUDE.sub(fragment, (folder / f"{name}.lua").read_text())


def read_header(name: str, source: str) -> Header:
    """Read the header of a script's text. Raises ScriptError where it has none or a line is not of its form."""
    found = _HEADER.match(source)
    if not found:
        raise ScriptError(f"lua/{name}.lua has no header")
    sections: dict[str, list[str]] = {section: [] for section in _SECTIONS}
    summary: list[str] = []
    section = ""
    for line in found[1].splitlines():
        word, _, rest = line.partition(" ")
        if word in _SECTIONS:
            section = word
            if rest.strip():
                sections[section].append(rest.strip())
        elif section and line.startswith("  "):
            sections[section].append(line.strip() if not line.startswith("   ") else "")
        elif line.strip() and not section:
            summary.append(line.strip())
        elif line.strip():
            raise ScriptError(f"lua/{name}.lua: header line {line!r} belongs to no section")
    if not summary or not summary[0].startswith(f"{name}: "):
        raise ScriptError(f"lua/{name}.lua: the header opens with {name!r}, a colon and what it does")

    def slots(section: str) -> tuple[str, ...]:
        return tuple(line.split()[0] for line in sections[section] if line)

    def listed(section: str) -> Sequence[str]:
        return [
            item.strip() for line in sections[section] for item in line.split(",") if item.strip() not in ("", "none")
        ]

    moves = set()
    for move in listed("MOVES"):
        source_state, arrow, target = move.partition(" -> ")
        if not arrow:
            raise ScriptError(f"lua/{name}.lua: MOVES has {move!r}; it reads 'wait -> active'")
        moves.add((source_state.strip(), target.strip()))
    return Header(
        summary=" ".join(summary),
        moves=frozenset(moves),
        causes=frozenset(listed("CAUSES")),
        emits=frozenset(listed("EMITS")),
        keys=slots("KEYS"),
        args=slots("ARGV"),
        rows=slots("ROWS"),
        returns="\n".join(sections["RETURNS"]),
        types=tuple(line.split()[1] for line in sections["KEYS"] if line),
    )
