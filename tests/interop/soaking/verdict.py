"""What came of a soak, by its ledgers, the stream and the places of the jobs. soak.py says what each charge means."""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from msgspec import Struct

LETTERS = {
    "added": "A", "waiting": "W", "delayed": "D", "waiting-children": "P", "active": "X", "stalled": "S",
    "completed": "C", "failed": "F", "retries-exhausted": "R",
}  # fmt: skip
UNSPOKEN = {"duplicated"}
"""Told of a job without anything having happened to it: an add that was sent again after its reply was lost."""
WORD = re.compile(r"A(W|DW|PW)(X(WS?|DW))*X(C|FR?)")
"""The life of a job, as its events spell it: each claim (X) comes out of the line, one end out of the last claim."""


class Added(Struct, frozen=True):
    """An add that was acknowledged."""

    id: str
    mark: str
    kind: str

    @property
    def producer(self) -> str:
        return self.mark.partition("-")[0]


class Told(Struct, frozen=True):
    """An entry of the stream."""

    event: str
    id: str
    value: str


class Evidence(Struct, frozen=True):
    """All that was written down, by the servers and outside of them."""

    added: Sequence[Added]
    """In the order of each producer."""
    lines: Sequence[str]
    """The stream itself, as the readers are to have noted it: PLACE EVENT JOB VALUE."""
    heard: Mapping[str, Sequence[str]]
    """Reader -> what it noted."""
    worked: Sequence[Sequence[str]]
    """What workers noted: start or end, id, ATS, PID."""
    places: Mapping[str, str]
    """Job id -> the structure that holds it at the end."""
    pausers: Sequence[str]


class Verdict(Struct, kw_only=True):
    """Numbers to tell, and the charges, each with what it was found by. Without charges all is well."""

    jobs: int
    events: int
    starts: int
    again: int
    """Starts beyond those that the options of the jobs ask for."""
    stalls: int
    charges: dict[str, list[str]]


def judge(evidence: Evidence) -> Verdict:
    told = [_told(line) for line in evidence.lines]
    words, ends = _words(told)
    starts = Counter(words[1] for words in evidence.worked if words[0] == "start")
    expected = sum(2 if one.kind == "retried" else 1 for one in evidence.added)
    charges = {
        "lost": list(_lost(evidence, words)),
        "completed twice": list(_twice(words)),
        "wrong end": list(_wrong_ends(evidence, ends)),
        "wrong life": list(_wrong_lives(evidence, words)),
        "wrong start": list(_wrong_starts(evidence, words)),
        "out of order": list(_out_of_order(evidence, told)),
        "child after parent": list(_late_children(evidence, told)),
        "unread": list(_unread(evidence)),
    }
    return Verdict(
        jobs=len(evidence.added),
        events=len(told),
        starts=starts.total(),
        again=starts.total() - expected,
        stalls=sum(one.event == "stalled" for one in told),
        charges={charge: found for charge, found in charges.items() if found},
    )


def _told(line: str) -> Told:
    _, event, id, value = line.split(" ", 3)
    return Told(event, id, value)


def _words(told: Sequence[Told]) -> tuple[dict[str, str], dict[str, Told]]:
    """Each job's events as letters, and its last end."""
    words: dict[str, list[str]] = defaultdict(list)
    ends: dict[str, Told] = {}
    for one in told:
        if one.id != "-" and one.event not in UNSPOKEN:
            words[one.id].append(LETTERS.get(one.event, f"<{one.event}>"))
        if one.event in ("completed", "failed"):
            ends[one.id] = one
    return {id: "".join(word) for id, word in words.items()}, ends


def _lost(evidence: Evidence, words: Mapping[str, str]) -> Iterator[str]:
    for one in evidence.added:
        word = words.get(one.id, "")
        if not {"C", "F"} & set(word) and one.id not in evidence.places:
            yield f"{one.id} ({one.mark}, {one.kind}): {word}"


def _twice(words: Mapping[str, str]) -> Iterator[str]:
    for id, word in words.items():
        if word.count("C") + word.count("F") > 1:
            yield f"{id}: {word}"


def _wrong_ends(evidence: Evidence, ends: Mapping[str, Told]) -> Iterator[str]:
    """Not ended, ended otherwise than it was made to, with another's result, or elsewhere than its last event says."""
    for one in evidence.added:
        wanted = Told("failed", one.id, "-") if one.kind == "doomed" else Told("completed", one.id, f'"{one.mark}"')
        if ends.get(one.id) != wanted or evidence.places.get(one.id) != wanted.event:
            yield f"{one.mark} ({one.kind}): {ends.get(one.id)}, and is in {evidence.places.get(one.id)}"


def _wrong_lives(evidence: Evidence, words: Mapping[str, str]) -> Iterator[str]:
    known = {one.id for one in evidence.added}
    for id, word in words.items():
        if not WORD.fullmatch(word) or id not in known:
            yield f"{id}: {word}{'' if id in known else ', and nobody added it'}"


def _wrong_starts(evidence: Evidence, words: Mapping[str, str]) -> Iterator[str]:
    """A claim that was run twice, a start without a claim, or an end that no run came to."""
    claims = Counter(tuple(noted[1:3]) for noted in evidence.worked if noted[0] == "start")
    yield from (f"{id}: claim {ats} was started {times} times" for (id, ats), times in claims.items() if times > 1)
    starts = Counter(id for id, _ in claims)
    yield from (
        f"{id}: {starts[id]} starts, {words.get(id)}" for id in starts if starts[id] > words.get(id, "").count("X")
    )
    ran = {noted[1] for noted in evidence.worked if noted[0] == "end"}
    yield from (
        f"{id}: completed, and no run ended" for id, word in words.items() if word.endswith("C") and id not in ran
    )


def _out_of_order(evidence: Evidence, told: Sequence[Told]) -> Iterator[str]:
    lines = {side: _Line(evidence, side) for side in {one.producer for one in evidence.added}}
    plain = {one.id: lines[one.producer] for one in evidence.added if one.kind == "plain"}
    pausers = iter(evidence.pausers)
    aside = False
    for one in told:
        if one.event in ("paused", "resumed"):
            aside = one.event == "paused" and next(pausers, "") == "v6"
        elif (line := plain.get(one.id)) is None:
            continue
        elif one.event == "waiting" and not line.enter(one.id, aside):
            yield f"{one.id}, added by {line.producer}, got in line before one that was added earlier"
        elif one.event == "active" and not line.leave(one.id):
            yield f"{one.id}, added by {line.producer}, was claimed before one that was added earlier"


class _Line:
    """The plain jobs of one producer that were not claimed yet. Those that may pass others have a lane of their own."""

    def __init__(self, evidence: Evidence, producer: str) -> None:
        self.producer = producer
        self._to_come = deque(one.id for one in evidence.added if one.producer == producer and one.kind == "plain")
        self._lanes: tuple[deque[str], deque[str]] = deque(), deque()
        self._seen: set[str] = set()

    def enter(self, id: str, aside: bool) -> bool:
        """Whether it was its turn; true of a job that comes back."""
        if id in self._seen:
            return True
        self._seen.add(id)
        self._lanes[aside and self.producer == "v5"].append(id)
        return self._to_come.popleft() == id

    def leave(self, id: str) -> bool:
        """Whether it was at the head; true of a job that was claimed before."""
        lane = next((lane for lane in self._lanes if id in lane), None)
        if lane is None:
            return True
        was_first = lane[0] == id
        lane.remove(id)
        return was_first


def _late_children(evidence: Evidence, told: Sequence[Told]) -> Iterator[str]:
    """A parent that was claimed before its children had ended."""
    family: dict[str, str] = {}
    parent = ""
    for one in evidence.added:
        if one.kind == "parent":
            parent = one.id
        elif one.kind == "child":
            family[one.id] = parent
    begun: set[str] = set()
    for entry in told:
        if entry.event == "active":
            begun.add(entry.id)
        elif entry.event in ("completed", "failed") and family.get(entry.id) in begun:
            yield f"{entry.id} ended after its parent {family[entry.id]} began"


def _unread(evidence: Evidence) -> Iterator[str]:
    """A reader's notes differ from the stream: where, and by what."""
    for reader, lines in evidence.heard.items():
        for number, (noted, there) in enumerate(zip_longest(lines, evidence.lines)):
            if noted != there:
                yield f"{reader}, entry {number} of {len(evidence.lines)}: noted {noted!r}, there is {there!r}"
                break
