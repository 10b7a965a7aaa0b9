"""How fast one worker process works off a full queue of jobs that do nothing."""

from __future__ import annotations

from benchmarks.measure import cpu_seconds, peak_memory_mb
from benchmarks.program import PATIENCE, Program, ProgramFailed, Silent
from benchmarks.scenario import Figures, Scenario, Setting, Variant, keeping, quickest_way
from benchmarks.side import Side, Skill
from benchmarks.stand import Meter, Stand

_WARM = 3_000
_LARGE = 10_000  # bytes from which jobs are added 100 at once: nobody gives 100 MB to one bulk call
_LOOK = 1.0  # seconds between looks at a rival that is not done
_LAST_WAIT = 10.0  # seconds of silence with an empty queue, after which what was not handled counts as lost


def _measure(stand: Stand, side: Side, variant: Variant, jobs: int) -> Figures:
    figures: Figures = {}
    payload = _whole(variant.settings["payload"])
    large = payload >= _LARGE
    way = "at once" if large else quickest_way(side)
    # A number and the names of the fields take 20 bytes.
    adding = {"do": "add", "way": way, "data": {"text": "x" * (payload - 20)}}
    warm = min(_WARM // 10 if large else _WARM, jobs)
    if variant.wishes & side.can:
        for queue in ("warm", "bench"):
            stand.set_events(queue, str(variant.settings["events"]))
    with stand.producer(side) as producer, stand.worker(side) as worker:
        if not worker.warm:
            producer.ask("seconds", queue="warm", jobs=warm, **adding)
            _work_off(stand, side, variant, worker, producer, "warm", warm)
            worker.warm = True
        before, cpu = stand.counters(), cpu_seconds(producer.pid)
        producer.ask("seconds", queue="bench", jobs=jobs, **adding)
        figures["producer_us"] = (cpu_seconds(producer.pid) - cpu) / jobs * 1e6
        figures["add_server_us"] = stand.counters().per_job(before, jobs)["server_us"]
        figures |= _work_off(stand, side, variant, worker, producer, "bench", jobs)
        figures["both_server_us"] = figures["add_server_us"] + figures["server_us"]
        figures["worker_mb"] = peak_memory_mb(worker.pid)
    return figures


def _work_off(
    stand: Stand, side: Side, variant: Variant, worker: Program, producer: Program, queue: str, jobs: int
) -> Figures:
    concurrency, keep = variant.settings["concurrency"], variant.settings["keep"]
    worker.ask("ready", do="ready", queues=[queue], concurrency=concurrency, keep=keep)
    meter = stand.meter(workers=[worker])
    worker.tell(do="begin", jobs=jobs)
    seconds = _until_handled(stand, side, worker, producer, queue, meter)
    figures = meter.read(jobs, seconds=seconds)
    ended = worker.ask("ended", do="end")
    handled, waiting = ended["handled"], stand.waiting(side, queue, producer)
    if side.on_the_wire:
        kept = jobs if keep is None else min(_whole(keep), jobs)
        left = (handled, waiting, stand.completed(queue))
        if left != (jobs, 0, kept):
            raise RuntimeError(f"{side.name}: handled, waiting, completed are {left} and should be {(jobs, 0, kept)}")
    taken = jobs - waiting
    figures |= {"lost": max(0, taken - handled), "twice": max(0, handled - taken)}
    if "turns" in ended:
        figures["turns"] = ended["turns"] / jobs
    return figures


def _until_handled(stand: Stand, side: Side, worker: Program, producer: Program, queue: str, meter: Meter) -> float:
    """Seconds until all were handled, and written where the wire tells; until nothing was left, if a rival lost some."""
    if side.on_the_wire:
        worker.hear("handled")
        stand.wait_until_idle(side, queue)
        return meter.elapsed
    emptied = None
    while meter.elapsed < PATIENCE:
        try:
            worker.hear("handled", patience=_LOOK)
            return meter.elapsed
        except Silent:
            if stand.waiting(side, queue, producer):
                emptied = None
            elif emptied is None:
                emptied = meter.elapsed
            elif meter.elapsed - emptied > _LAST_WAIT:
                return emptied
    raise ProgramFailed(f"{worker!r} has not worked off {queue} in {PATIENCE:.0f} s")


def _whole(setting: Setting) -> int:
    assert isinstance(setting, int)
    return setting


def _variant(concurrency: int, keep: int | None, payload: int = 100, *, trial: int, jobs: int | None = None) -> Variant:
    needs: set[Skill] = {keeping(keep)} | ({"at once"} if payload >= _LARGE else set())
    settings: dict[str, Setting] = {"concurrency": concurrency, "keep": keep, "payload": payload}
    return Variant(settings, trial, frozenset(needs), jobs=jobs)


def _with_events(variant: Variant, events: str) -> Variant:
    """The same where the engine writes fewer events; rivals have no such choice and run as they are."""
    wish: Skill = "no events" if events == "none" else "result events"
    return Variant({**variant.settings, "events": events}, variant.trial, variant.needs, wishes=frozenset({wish}))


_USUAL = _variant(100, None, trial=3_000)

DRAIN = Scenario(
    "drain",
    "jobs worked off a second, one worker process, handlers that do nothing",
    variants=(
        _variant(1, None, trial=500),
        _variant(10, None, trial=2_000),
        _USUAL,
        _variant(500, None, trial=3_000),
        _variant(100, 10, trial=3_000),
        _variant(100, 0, trial=3_000),
        _variant(100, 10, 1_000, trial=3_000),
        _variant(100, 10, 10_000, trial=1_000),
        # Not as many as take a second: each is held by the server, the append-only file and the processes that add.
        _variant(100, 10, 100_000, trial=0, jobs=2_000),
        _with_events(_USUAL, "results"),
        _with_events(_USUAL, "none"),
    ),
    measure=_measure,
    main="rate",
    shown=(
        "rate",
        "cpu_rate",
        "server_us",
        "add_server_us",
        "both_server_us",
        "worker_us",
        "producer_us",
        "commands",
        "reads",
        "bytes",
        "worker_mb",
        "others",
    ),
    sliced=True,
)
