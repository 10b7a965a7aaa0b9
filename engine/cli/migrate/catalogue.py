"""What a look at a keyspace can find: for each code what happens, and what to do about it. Knows no server."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

Severity = Literal["differs", "note"]


class Kind(Struct, frozen=True):
    """`differs`: behaves otherwise here than under BullMQ. `note`: the same, and worth knowing before moving."""

    severity: Severity
    what: str
    remedy: str


def _differs(what: str, remedy: str) -> Kind:
    return Kind("differs", what, remedy)


def _note(what: str, remedy: str) -> Kind:
    return Kind("note", what, remedy)


KINDS: Final[dict[str, Kind]] = {
    # -- the server and the queue
    "server-unfit": _differs(
        "A Corral worker refuses to start on this server, where BullMQ warns or says nothing.",
        "Do what the message says; `corral doctor` looks again.",
    ),
    "old-bull": _differs(
        "The queue was made by Bull, BullMQ's predecessor, whose data differ: no worker of BullMQ or Corral does its jobs right.",
        "Let Bull's own workers drain it, and add new jobs to a queue of another name.",
    ),
    "wrong-type": _differs(
        "A key of the queue is of another type: Corral refuses every call that needs it and writes nothing; BullMQ fails midway.",
        "Find out who wrote the key (TYPE, OBJECT IDLETIME), and rename or delete it.",
    ),
    "groups": _differs(
        "Groups of BullMQ Pro: their jobs wait in keys that Corral's workers do not read, and are not run.",
        "Let BullMQ Pro drain the groups, and give each group a queue, or its jobs priorities.",
    ),
    "worker-limiter": _differs(
        "Workers limit the rate by an option of their own (`limiter`), which stands in no key: Corral's workers do not know it.",
        "Give Worker(limiter={...}) the same numbers, or set it for all: queue.set_rate_limit(max, duration).",
    ),
    "many-names": _note(
        "Unfinished jobs of the queue have several names. BullMQ gives all of them to one function; a Corral worker chooses its"
        " processor by the job's name, and fails a job whose name none of its processors has.",
        "Give the worker a processor for each name, or one function for all: @processor() without a name, alone in its worker.",
    ),
    "queue-paused": _note(
        "The queue is paused: workers of either kind take nothing.",
        "`corral resume QUEUE` when its jobs are to run; in a fleet with BullMQ 5 let only Corral pause and resume.",
    ),
    "pause-loses-jobs": _note(
        "The queue is paused with jobs in `wait` and in `paused`: a resume by BullMQ 5 overwrites `wait`, and these jobs are lost.",
        "Resume by `corral resume QUEUE` or with BullMQ 6, which keep both.",
    ),
    "paused-left-over": _note(
        "Jobs are in the list `paused` of a queue that is not paused: no worker of either kind takes them.",
        "`corral resume QUEUE` puts them back in line.",
    ),
    "long-events": _note(
        "The event stream is kept very long; each entry of a completed job has a copy of its result.",
        "Queue(max_events=10_000) shortens it; BullMQ's streams.events.maxLen must say the same.",
    ),
    "metrics": _note(
        "Workers count finished jobs by the minute, by an option of theirs: a Corral worker without it counts none of its jobs.",
        "Give Worker(metrics=1_440) as many minutes as BullMQ's metrics.maxDataPoints.",
    ),
    # -- ids and places
    "missing-hash": _differs(
        "An id is in line and its job is gone: Corral drops it with the event `missing`; BullMQ runs an empty job.",
        "Nothing, if no job is missed; else add the job anew.",
    ),
    "id-of-a-structure": _differs(
        "A job's id is the name of a key of the queue, and the two overwrite each other; Corral drops the id as missing.",
        "Remove it, and choose ids with a word before them, such as job-meta.",
    ),
    "in-two-places": _note(
        "An id is in two places at once, or twice in one: it is run twice, by workers of either kind.",
        "Remove the job and add it once, or let its processor bear to be run twice.",
    ),
    "nowhere": _note(
        "A job has a hash and is in no line or set, as after a resume by BullMQ 5 beside BullMQ 6: no worker ever runs it.",
        "`corral job QUEUE ID` shows it: add it anew under another id where it is missed, and `corral remove` it.",
    ),
    "active-without-lock": _note(
        "A job is active and nobody holds its lock: its worker died. Corral puts it back in line by its priority, BullMQ in front.",
        "Nothing: any worker finds it.",
    ),
    "lock-without-end": _note(
        "A lock has no time to live: its job stays active for ever if its worker dies, under either.",
        "PEXPIRE the key by hand, once its worker is gone.",
    ),
    "overdue": _note(
        "Delayed jobs were due over a minute ago: they run as soon as a worker is there, all at once.",
        "`corral remove QUEUE ID` those that are not wanted any more, before the first worker starts.",
    ),
    # -- what a job holds
    "no-name": _differs(
        "A job has no name: Corral fails it with that reason; BullMQ runs it with the name undefined.",
        "Remove it; it was half written, or deleted while it ran.",
    ),
    "bad-data": _differs(
        "A job's data are not JSON: Corral fails it with the reason; BullMQ takes it again and again and never fails it.",
        "Find the producer that writes it; `corral remove QUEUE ID`.",
    ),
    "bad-options": _differs(
        "A job's options are not a JSON object: Corral fails it with the reason; BullMQ never gets past it.",
        "Find the producer that writes it; `corral remove QUEUE ID`.",
    ),
    "bad-parent": _differs(
        "What a job says of its parent is not JSON: Corral ends the job and counts no policy for failures; BullMQ cannot finish it.",
        "Remove the job; its parent is released, or waits on for its other children.",
    ),
    "timeout-heeded": _differs(
        "A job has the option `timeout` or `expiresIn`, which BullMQ ignores: Corral ends a run that takes longer, in ms.",
        "Take it out of the producer where no limit is meant.",
    ),
    "own-backoff": _differs(
        "A job's backoff is a strategy of your own: without it a Corral worker fails the job at its first failure.",
        "Give Worker(backoffs={'name': function}); the function takes the attempts made and the error.",
    ),
    "legacy-attempts": _differs(
        "A job counts its attempts in `attemptsMade`, as BullMQ before version 5 did: Corral counts `atm` alone, from 0.",
        "Let BullMQ's workers finish these jobs.",
    ),
    "schedule-without-repeat": _differs(
        "A job names a schedule and has no `repeat` among its options: Corral runs it; BullMQ drops it with an error.",
        "Remove it if it is not to run.",
    ),
    "option-refused": _differs(
        "Corral runs these jobs, but its producers refuse such an option, which those of BullMQ take.",
        "Change it where the producer moves over; the message says to what.",
    ),
    "large-data": _differs(
        "A job's data are over 1 MiB: Corral runs it, but its producers refuse as much.",
        "Queue(max_payload=...) allows it; or store the bulk elsewhere and its address in the job.",
    ),
    "unknown-option": _note(
        "A job has options that neither Corral nor BullMQ knows: they are kept, and nobody acts on them.",
        "See whether a library of yours reads them; processors here read the known ones.",
    ),
    "attempts-open": _note(
        "Jobs with `attempts` 0: one run under BullMQ; here as many as the processor says, and one where it says nothing.",
        "Leave `attempts` out of @processor(...) where one run is meant.",
    ),
    "kept-for-ever": _note(
        "Jobs do not say whether they are kept once they have completed: all are, unless the worker has an option, under either.",
        "Give Worker(remove_on_complete=..., remove_on_fail=...) what your BullMQ workers have.",
    ),
    "without-dead-letter": _note(
        "Failed jobs without a dead letter: they cannot be filtered and replayed together yet.",
        "`corral dead-letters QUEUE adopt` writes letters of them, at any time.",
    ),
    # -- parents and deduplication
    "parent-forgotten": _differs(
        "A parent waits, and its children have ended or are gone: a Corral worker tells it, so that it runs or, by their policy, fails.",
        "Remove it first if it is not to run any more.",
    ),
    "parent-waits-for-failed": _note(
        "A parent waits for a child that has failed for good without a policy: under either until that child is retried or removed.",
        "Retry or remove the child; give children one of the four policies.",
    ),
    "deduplication-dead": _differs(
        "A deduplication has no end and its job is gone: BullMQ before 6.7 adds no job of that id ever again; Corral adds the next.",
        "Nothing; look whether jobs are missing that were never added.",
    ),
    # -- schedules
    "schedule-refused": _differs(
        "The times of a schedule cannot be read here: a Corral worker runs what is due, reports it, and makes no next run.",
        "Upsert it with a pattern and a time zone that Corral knows; the message says what is wrong.",
    ),
    "schedule-without-zone": _differs(
        "A cron pattern without a time zone: BullMQ for Node takes the zone of each worker's machine, Corral takes UTC.",
        "Upsert it with a `tz`; on machines that run in UTC nothing changes.",
    ),
    "schedule-days": _differs(
        "A pattern has `*/n` in one field of days and the other named: BullMQ runs where either is met, Corral, as cron, where both are.",
        "Write the days out: 1,3,5,... instead of */2.",
    ),
    "schedule-nth-weekday": _differs(
        "A pattern has `#` beside a day of the month: BullMQ 5 goes by the weekday alone, BullMQ 6 and Corral run where either is met.",
        "Write `*` for the day of the month if the weekday is what is meant.",
    ),
    "schedule-stopped": _differs(
        "A schedule's next run is not there: under BullMQ it has stopped; a Corral worker starts it again.",
        "`queue.schedules.remove(id)` if it is not to go on.",
    ),
    "schedule-without-record": _differs(
        "A schedule is listed and has no record: its run, if there is one, runs once and makes no next.",
        "Upsert it again.",
    ),
    "schedule-options": _differs(
        "The options that a schedule keeps for its runs are not a JSON object: Corral's runs have none.",
        "Upsert it anew.",
    ),
    "schedule-id": _differs(
        "Corral goes on with the schedule, but its producers refuse such an id, which BullMQ takes.",
        "Give it another id where the producer moves over, and remove the old schedule.",
    ),
    "schedule-legacy": _note(
        "A repeatable job of BullMQ 4 or 5 (`add` with `repeat`): Corral goes on with it but cannot mend it; BullMQ 6 has none of them.",
        "Upsert it as a schedule, and remove the repeatable job.",
    ),
    "schedule-in-runs": _note(
        "Only the runs of a schedule have its data or options: Corral hands them on from run to run; BullMQ 6 hands on options alone.",
        "Upsert it again: with a run that is lost they are lost too.",
    ),
}  # fmt: skip
