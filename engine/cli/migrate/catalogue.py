"""All findings of `corral migrate check`: for each code what happens, and what to do about it. No I/O."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

Severity = Literal["differs", "note"]


class Kind(Struct, frozen=True):
    """`differs`: behaves differently under Corral than under BullMQ. `note`: the same, and worth knowing before moving."""

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
        "Do what the message says, then check with `corral doctor`.",
    ),
    "old-bull": _differs(
        "The queue was made by Bull, BullMQ's predecessor, whose data differ: workers of BullMQ and Corral do not run its jobs correctly.",
        "Let Bull's own workers drain it, and add new jobs to a queue of another name.",
    ),
    "wrong-type": _differs(
        "A key of the queue is of another type: Corral refuses every call that needs it and writes nothing; BullMQ fails in the middle of a script.",
        "Find out who wrote the key (TYPE, OBJECT IDLETIME), and rename or delete it.",
    ),
    "groups": _differs(
        "Jobs of BullMQ Pro groups wait in keys that Corral's workers do not read: they are not run.",
        "Let BullMQ Pro drain the groups, and give each group a queue, or its jobs priorities.",
    ),
    "worker-limiter": _differs(
        "Workers have a rate limit of their own (option `limiter`), which is not stored in Redis: Corral's workers do not know it.",
        "Give Worker(limiter={...}) the same numbers, or limit the queue: `corral limit QUEUE --rate MAX/TIME`.",
    ),
    "many-names": _note(
        "Unfinished jobs of the queue have several names. BullMQ gives all of them to one function; a Corral worker chooses the"
        " processor by the job's name, and fails a job without a processor.",
        "Give the worker a processor for each name, or one function for all: @processor() without a name, alone in its worker.",
    ),
    "queue-paused": _note(
        "The queue is paused: no worker takes jobs, of BullMQ or of Corral.",
        "`corral resume QUEUE` to run its jobs; beside BullMQ 5 let only Corral pause and resume.",
    ),
    "pause-loses-jobs": _note(
        "The queue is paused with jobs in `wait` and in `paused`: a resume by BullMQ 5 overwrites `wait`, and these jobs are lost.",
        "Resume by `corral resume QUEUE` or with BullMQ 6, which keep both.",
    ),
    "paused-left-over": _note(
        "Jobs are in the list `paused` of a queue that is not paused: no worker takes them, of BullMQ or of Corral.",
        "`corral resume QUEUE` moves them back to `wait`.",
    ),
    "long-events": _note(
        "The event stream is very long; each entry of a completed job has a copy of its result.",
        "Queue(max_events=10_000) shortens it; BullMQ's streams.events.maxLen must say the same.",
    ),
    "metrics": _note(
        "Workers count finished jobs per minute, by an option of theirs: a Corral worker without it does not count its jobs.",
        "Give Worker(metrics=...), or --metrics, as many minutes as BullMQ's metrics.maxDataPoints.",
    ),
    # -- ids and places
    "missing-hash": _differs(
        "An id is listed and its job is gone: Corral drops it with the event `missing`; BullMQ runs an empty job.",
        "Nothing, or add the job again if it is needed.",
    ),
    "id-of-a-structure": _differs(
        "A job's id is the name of a key of the queue, and the two overwrite each other; Corral drops the id as missing.",
        "Remove it, and choose ids with a prefix, such as job-meta.",
    ),
    "in-two-places": _note(
        "An id is in two places at once, or twice in one: it is run twice, by workers of BullMQ and of Corral.",
        "Remove the job and add it once, or make its processor idempotent.",
    ),
    "nowhere": _note(
        "A job has a hash and is in no list or set, as after a resume by BullMQ 5 beside BullMQ 6: no worker ever runs it.",
        "`corral job QUEUE ID` shows it: add it again with another id if it is needed, and `corral remove QUEUE ID` it.",
    ),
    "active-without-lock": _note(
        "A job is active without a lock: its worker died. Corral puts it back by its priority, BullMQ in front.",
        "Nothing: any worker recovers it.",
    ),
    "lock-without-end": _note(
        "A lock has no time to live: if its worker dies, the job stays active forever, under BullMQ and Corral.",
        "Set one with PEXPIRE once its worker is gone.",
    ),
    "overdue": _note(
        "Delayed jobs were due over a minute ago: they all run as soon as a worker is there.",
        "`corral remove QUEUE ID` those that are no longer wanted, before the first worker starts.",
    ),
    # -- what a job holds
    "no-name": _differs(
        "A job has no name: Corral fails it with that reason; BullMQ runs it with the name undefined.",
        "Remove it; it was half written, or deleted while it ran.",
    ),
    "bad-data": _differs(
        "A job's data are not JSON: Corral fails it with the reason; under BullMQ it is redelivered forever.",
        "Find the producer that writes it; `corral remove QUEUE ID`.",
    ),
    "bad-options": _differs(
        "A job's options are not a JSON object: Corral fails it with the reason; under BullMQ it is redelivered forever.",
        "Find the producer that writes it; `corral remove QUEUE ID`.",
    ),
    "bad-parent": _differs(
        "A job's parent field is not JSON: Corral ends the job and applies no failure policy to the parent; BullMQ cannot finish it.",
        "Remove the job; its parent is released, or waits for its other children.",
    ),
    "timeout-heeded": _differs(
        "A job has the option `timeout` or `expiresIn`, in ms, which BullMQ ignores: Corral ends a run that takes longer.",
        "Remove the option from the producer if no limit is meant.",
    ),
    "own-backoff": _differs(
        "A job's backoff is a custom strategy: a Corral worker without it fails the job at the first error.",
        "Give Worker(backoffs={'name': function}); the function takes the attempts made and the error.",
    ),
    "legacy-attempts": _differs(
        "A job counts its attempts in `attemptsMade`, as BullMQ before version 5 did: Corral counts in `atm` only, from 0.",
        "Let BullMQ's workers finish these jobs.",
    ),
    "schedule-without-repeat": _differs(
        "A job of a schedule has no option `repeat`: Corral runs it; BullMQ drops it with an error.",
        "Remove it if it should not run.",
    ),
    "option-refused": _differs(
        "Corral runs these jobs, but its producers refuse the option, which BullMQ's producers accept.",
        "Change it when the producer moves over, as the message says.",
    ),
    "large-data": _differs(
        "A job's data are over 1 MiB: Corral runs it, but its producers refuse data of this size.",
        "Queue(max_payload=...) allows it; or store the data elsewhere and its address in the job.",
    ),
    "unknown-option": _note(
        "A job has options that neither Corral nor BullMQ knows: they are stored and have no effect.",
        "Check whether a library of yours reads them; processors here see the known ones.",
    ),
    "attempts-open": _note(
        "Jobs with `attempts` 0: one run under BullMQ; under Corral the processor's `attempts`, and one run if it has none.",
        "Leave `attempts` out of @processor(...) if one run is meant.",
    ),
    "kept-for-ever": _note(
        "Jobs without `removeOnComplete`: all are kept, unless the worker has the option, under BullMQ and Corral.",
        "Give Worker(remove_on_complete=..., remove_on_fail=...), or --keep-completed and --keep-failed, what your BullMQ workers have.",
    ),
    "without-dead-letter": _note(
        "Failed jobs without a dead letter: dead letters can be filtered and replayed together.",
        "`corral dead-letters QUEUE adopt` writes their dead letters, at any time.",
    ),
    # -- parents and deduplication
    "parent-forgotten": _differs(
        "A parent waits, and its children have ended or are gone: a Corral worker releases it; it runs or, by the children's policy, fails.",
        "Remove it first if it should no longer run.",
    ),
    "parent-waits-for-failed": _note(
        "A parent waits for a child that failed for good without a failure policy: until the child is retried or removed.",
        "Retry or remove the child; give children one of the four policies.",
    ),
    "deduplication-dead": _differs(
        "A deduplication never expires and its job is gone: BullMQ before 6.7 never adds a job with this id again; Corral adds the next.",
        "Nothing; check whether jobs are missing that were never added.",
    ),
    # -- schedules
    "schedule-refused": _differs(
        "A schedule's pattern or time zone cannot be read: a Corral worker runs the job that is due, reports the error, and makes no next run.",
        "Upsert it with a pattern and a time zone that Corral accepts; the message says what is wrong.",
    ),
    "schedule-without-zone": _differs(
        "A cron pattern without a time zone: BullMQ for Node takes the zone of each worker's machine, Corral takes UTC.",
        "Upsert it with a `tz`; on machines that run in UTC nothing changes.",
    ),
    "schedule-days": _differs(
        "A pattern has `*/n` in one field of days and the other named: BullMQ runs if either matches, Corral, as cron does, if both match.",
        "Write the days out: 1,3,5,... instead of */2.",
    ),
    "schedule-nth-weekday": _differs(
        "A pattern has `#` beside a day of the month: BullMQ 5 uses the weekday alone, BullMQ 6 and Corral run if either matches.",
        "Write `*` for the day of the month if the weekday is what is meant.",
    ),
    "schedule-stopped": _differs(
        "A schedule's next run is missing: under BullMQ it has stopped; a Corral worker starts it again.",
        "`corral schedules QUEUE remove ID` if it should not run any more.",
    ),
    "schedule-without-record": _differs(
        "A schedule is listed and has no record: its next job, if there is one, is its last.",
        "Upsert it again.",
    ),
    "schedule-options": _differs(
        "A schedule's job options are not a JSON object: Corral runs its jobs without options.",
        "Upsert it again.",
    ),
    "schedule-id": _differs(
        "Corral runs the schedule, but its producers refuse the id, which BullMQ accepts.",
        "Give it another id when the producer moves over, and remove the old schedule.",
    ),
    "schedule-legacy": _note(
        "A repeatable job of BullMQ 4 or 5 (`add` with `repeat`): Corral runs it but cannot repair it; BullMQ 6 does not have them.",
        "Upsert it as a schedule, and remove the repeatable job.",
    ),
    "schedule-in-runs": _note(
        "A schedule's data or options are stored in its runs only: Corral copies them from run to run; BullMQ 6 copies the options only.",
        "Upsert it again: if a run is lost, they are lost.",
    ),
}  # fmt: skip
