"""What came of a chaos, by its ledgers, the event stream and the places of the jobs. Reads nothing; __main__.py says what
each charge means."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from math import ceil

from msgspec import Struct

FORGIVEN = {"lost", "wrong start"}
"""Not charged where the server may forget what it acknowledged: with it goes the memory of a claim, which comes again."""


class Answer(Struct, frozen=True):
    """What an add was answered: acked, refused or unknown."""

    mark: str
    answer: str
    id: str


class Noted(Struct, frozen=True):
    """A start or an end, as the handler noted it. `claim` is the job's count of starts, `at` monotonic seconds."""

    word: str
    id: str
    claim: int
    pid: int
    attempt: int
    at: float
    mark: str


class Killed(Struct, frozen=True):
    """A SIGKILL of a daemon."""

    pid: int
    at: float


class Exited(Struct, frozen=True):
    """A daemon that ended by itself, or at the end when it was asked to."""

    pid: int
    code: int


class Evidence(Struct, frozen=True, dict=True):
    """All that was written down, by the server and outside of it."""

    answers: Sequence[Answer]
    noted: Sequence[Noted]
    killed: Sequence[Killed]
    exited: Sequence[Exited]
    events: Sequence[str]
    """The whole stream, oldest first: EVENT JOB FIELD=VALUE..."""
    places: Mapping[str, str]
    """Job id -> the structure that holds it at the end, or all that do: "wait and completed"."""
    over: float
    """When the load ended, in monotonic seconds."""
    unsound: Sequence[str]
    """What is wrong in the queue by itself, each line with the number of its invariant."""

    @cached_property
    def starts(self) -> dict[str, list[Noted]]:
        """Job id -> its starts, the first first."""
        found: dict[str, list[Noted]] = defaultdict(list)
        for one in sorted(self.noted, key=lambda one: one.at):
            if one.word == "start":
                found[one.id].append(one)
        return found

    @cached_property
    def acked(self) -> dict[str, str]:
        """Job id -> its mark."""
        return {one.id: one.mark for one in self.answers if one.answer == "acked"}

    @cached_property
    def completions(self) -> dict[str, list[int]]:
        """Job id -> the claims whose end was accepted as its completion."""
        found: dict[str, list[int]] = defaultdict(list)
        for line in self.events:
            words = line.split(" ")
            if words[0] == "completed":
                fields = dict(word.split("=", 1) for word in words[2:])
                found[words[1]].append(int(fields["returnvalue"].strip('"')))
        return found


class Verdict(Struct, kw_only=True):
    """Figures to print, and the charges, each with what it was found by. Without charges all is well."""

    acked: int
    refused: int
    unknown: int
    lost: int
    completed_twice: int
    restarted: int
    """Starts of an attempt that had been started before."""
    restarts: list[float]
    """Seconds from each SIGKILL to the next start of each job that the daemon had in hand, the shortest first."""
    gap: float
    """The longest time in seconds without the start of a job, under load."""
    charges: dict[str, list[str]]


def at_share(share: float, ordered: Sequence[float]) -> float:
    """The smallest of the values that so many of them do not exceed (0.99: the p99); 0 if there are none."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0.0


def judge(evidence: Evidence, *, durable: bool = True, bound: float | None = None) -> Verdict:
    """durable: the server forgets nothing that it has acknowledged. bound: seconds, for 99 of 100 restarts after a crash."""
    found = {
        "lost": list(_lost(evidence)),
        "completed twice": list(_twice(evidence)),
        "added twice": list(_added_twice(evidence)),
        "refused and run": list(_refused_and_run(evidence)),
        "wrong end": list(_wrong_ends(evidence)),
        "wrong start": list(_wrong_starts(evidence)),
        "exited": list(_exits(evidence)),
        "unsound": list(evidence.unsound),
    }
    answers, restarts = _last_answers(evidence.answers), sorted(_restarts(evidence))
    if bound is not None and (late := at_share(0.99, restarts)) > bound:
        found["late restart"] = [f"p99 of {len(restarts)} is {late:.1f} s, more than {bound:g} s"]
    times = sorted(start.at for start in _all_starts(evidence) if start.at < evidence.over)
    return Verdict(
        acked=answers["acked"],
        refused=answers["refused"],
        unknown=answers["unknown"],
        lost=len(found["lost"]),
        completed_twice=len(found["completed twice"]),
        restarted=_restarted(evidence),
        restarts=restarts,
        gap=max((later - earlier for earlier, later in pairwise(times)), default=0.0),
        charges={charge: lines for charge, lines in found.items() if lines and (durable or charge not in FORGIVEN)},
    )


# --- charges ----------------------------------------------------------------------------------------------------------


def _lost(evidence: Evidence) -> Iterator[str]:
    for id, mark in evidence.acked.items():
        if id not in evidence.places:
            yield f"{id} ({mark}): {_life(evidence, id)}"


def _twice(evidence: Evidence) -> Iterator[str]:
    for id, claims in evidence.completions.items():
        if len(claims) > 1:
            yield f"{id}: the ends of claims {claims} were accepted"


def _added_twice(evidence: Evidence) -> Iterator[str]:
    ids: dict[str, set[str]] = defaultdict(set)
    for id, mark in [*evidence.acked.items(), *((start.id, start.mark) for start in _all_starts(evidence))]:
        ids[mark].add(id)
    yield from (f"{mark}: {sorted(found)}" for mark, found in ids.items() if len(found) > 1)


def _refused_and_run(evidence: Evidence) -> Iterator[str]:
    said = defaultdict(set)
    for one in evidence.answers:
        said[one.mark].add(one.answer)
    run = {start.mark for start in _all_starts(evidence)}
    yield from (mark for mark, answers in said.items() if answers == {"refused"} and mark in run)


def _wrong_ends(evidence: Evidence) -> Iterator[str]:
    """A job that is anywhere but in completed, or whose completion is not the end of a run that got there."""
    ended = {(one.id, one.claim) for one in evidence.noted if one.word == "end"}
    for id, place in evidence.places.items():
        claims = evidence.completions.get(id, [])
        if place != "completed" or not claims:
            yield f"{id} is in {place}: {_life(evidence, id)}"
        elif (id, claims[-1]) not in ended:
            yield f"{id} was completed by claim {claims[-1]}, of which no handler came to its end"


def _wrong_starts(evidence: Evidence) -> Iterator[str]:
    """A claim that was run twice, or more starts than claims."""
    claims = Counter(line.split(" ")[1] for line in evidence.events if line.startswith("active "))
    for id, starts in evidence.starts.items():
        twice = [claim for claim, times in Counter(start.claim for start in starts).items() if times > 1]
        if twice:
            yield f"{id}: claims {twice} were started twice"
        elif len(starts) > claims[id]:
            yield f"{id}: {len(starts)} starts of {claims[id]} claims"


def _exits(evidence: Evidence) -> Iterator[str]:
    """A daemon that had started a job, and ended by itself otherwise than well."""
    workers = {one.pid for one in evidence.noted}
    for one in evidence.exited:
        if one.code and one.pid in workers:
            yield f"daemon {one.pid} exited with {one.code}"


def _life(evidence: Evidence, id: str) -> str:
    said = [line.split(" ")[0] for line in evidence.events if line.split(" ")[1:2] == [id]]
    return f"{' '.join(said) or 'no event'}; {len(evidence.starts.get(id, []))} starts"


# --- figures ----------------------------------------------------------------------------------------------------------


def _all_starts(evidence: Evidence) -> Iterable[Noted]:
    return (one for one in evidence.noted if one.word == "start")


def _last_answers(answers: Sequence[Answer]) -> Counter[str]:
    return Counter({one.mark: one.answer for one in answers}.values())


def _restarted(evidence: Evidence) -> int:
    attempts = Counter((start.id, start.attempt) for start in _all_starts(evidence))
    return attempts.total() - len(attempts)


def _restarts(evidence: Evidence) -> Iterator[float]:
    """For each job that a daemon had in hand when it was killed: it had started there last, and starts again later."""
    killed = {one.pid: one.at for one in evidence.killed}
    for starts in evidence.starts.values():
        for start, following in pairwise(starts):
            at = killed.get(start.pid)
            if at is not None and following.at > at and start.attempt == following.attempt:
                yield following.at - at
