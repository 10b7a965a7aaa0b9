"""The scenarios about size, scale and cost, each in its smallest form: that they run and what they say, not how fast."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

import pytest

import engine.scripts
from benchmarks.micro.client import MANY, OPERATIONS, sample
from benchmarks.micro.fill import STATES, State, fill, row
from benchmarks.micro.largest import LARGEST
from benchmarks.micro.scripts import CASES
from benchmarks.ours import ENGINE
from benchmarks.scenario import Figures, Scenario, Setting, Variant
from benchmarks.scenarios.floor import FLOOR
from benchmarks.scenarios.growth import GROWTH, check_memory
from benchmarks.scenarios.longest import LONGEST
from benchmarks.scenarios.memory import MEMORY
from benchmarks.scenarios.micro import MICRO
from benchmarks.scenarios.scale import SCALE
from benchmarks.scenarios.scale_servers import SCALE_SERVERS
from benchmarks.stand import Stand, stand
from engine.connection import Link
from engine.model.keys import Keys
from engine.scripting.loader import lua_folder
from engine.scripts.add import add
from tests.support.keyspace import dump

pytestmark = pytest.mark.timeout(120)

NOW = 1_760_000_000_000


@pytest.fixture(scope="module")
def ground() -> Iterator[Stand]:
    with stand(program=None, tcp=True, fsync="everysec", place="free") as standing:
        yield standing


def measured(ground: Stand, scenario: Scenario, jobs: int, **settings: Setting) -> Figures:
    ground.empty()
    wanted = Variant(settings)
    (variant,) = [variant for variant in scenario.variants if variant.settings == wanted.settings]
    figures = scenario.measure(ground, ENGINE, variant, jobs)
    assert scenario.main in figures
    return figures


# --- micro ------------------------------------------------------------------------------------------------------------


def test_every_script_has_a_case() -> None:
    modules = [module.name for module in iter_modules(engine.scripts.__path__)]
    bound = {name for name in modules if hasattr(import_module(f"engine.scripts.{name}"), f"_{name}")}
    assert set(CASES) == bound == {path.stem for path in lua_folder().glob("*.lua")}


@pytest.mark.parametrize("script", CASES)
def test_the_call_of_a_case_carries_out_all_its_rows(ground: Stand, script: str) -> None:
    rows = 10 if 10 in CASES[script].rows else 1
    figures = measured(ground, MICRO, 2 * rows, script=script, rows=rows)
    assert figures["script_calls"] >= 1
    assert figures["call_us"] * figures["script_calls"] == pytest.approx(figures["row_us"] * rows)


@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_calls_are_measured(ground: Stand, name: str) -> None:
    figures = measured(ground, LONGEST, 1, call=name)
    assert figures["longest_ms"] > 0
    assert figures["commands"] >= 20


def test_every_operation_of_the_client_has_its_time(ground: Stand) -> None:
    for name in OPERATIONS:
        assert measured(ground, MICRO, 200, client=name)["row_us"] > 0


async def test_a_line_carries_what_a_reader_reads_and_the_server_said(link: Link) -> None:
    samples = await sample(link)
    carried, parsed = (OPERATIONS[name].make(samples)() for name in ("carry one turn", "parse the reply of turn"))
    assert carried == parsed == samples.turn.reply
    assert len(samples.jobs) == MANY


def test_variants_can_be_chosen_by_their_settings() -> None:
    for scenario in (MICRO, LONGEST, GROWTH, MEMORY, SCALE, SCALE_SERVERS, FLOOR):
        for variant in scenario.variants:
            assert len(variant.name.split(", ")) == len(variant.settings)


# --- growth -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES)
async def test_a_filled_queue_is_as_if_each_job_had_been_added(link: Link, state: State) -> None:
    filled, added = Keys("filled"), Keys("added")
    rows = [row(state, n, NOW) for n in range(1_201)]
    await fill(link, filled, state, 1_200, NOW)
    await add(link, filled, rows[1_200:])
    await add(link, added, rows[:600])
    await add(link, added, rows[600:])
    found = [await dump(link, keys.jobs) for keys in (filled, added)]
    for keys, keyspace in zip((filled, added), found, strict=True):
        del keyspace[keys.events]
    assert {key.partition("filled:")[2]: value for key, value in found[0].items()} == {
        key.partition("added:")[2]: value for key, value in found[1].items()
    }
    encodings = [await link.call("OBJECT", "ENCODING", keys.job("7")) for keys in (filled, added)]
    assert encodings[0] == encodings[1]


@pytest.mark.parametrize("state", STATES)
def test_growth_tells_what_a_job_costs_beside_ten_thousand(ground: Stand, state: State) -> None:
    figures = measured(ground, GROWTH, 2_000, state=state, waiting=10_000)
    assert figures["server_us"] == figures["add_us"] + figures["turn_us"] > 0
    assert figures["times_small"] > 0


def test_jobs_that_do_not_fit_are_refused_with_what_to_do() -> None:
    with pytest.raises(SystemExit, match=r"GB are free; choose fewer with --only waiting="):
        check_memory(10**12)


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["waiting", "active", "failed"])
def test_memory_tells_what_a_job_holds_and_how_its_hash_lies(ground: Stand, state: str) -> None:
    before = ground.redis.config_get("hash-max-listpack-value")
    figures = {length: measured(ground, MEMORY, 50, state=state, listpack=length) for length in (64, 1024)}
    assert figures[64]["table"] == 1
    assert figures[1024]["table"] == 0
    assert figures[64]["job_bytes"] > figures[1024]["job_bytes"] > 100
    assert ground.redis.config_get("hash-max-listpack-value") == before


# --- scale ------------------------------------------------------------------------------------------------------------


def test_scale_sets_several_processes_beside_one() -> None:
    with stand(program=None, tcp=True, fsync="everysec", place="apart") as apart:
        before = os.sched_getaffinity(apart.server_pid)
        figures = measured(apart, SCALE, 300, work="none", processes=2)
        assert os.sched_getaffinity(apart.server_pid) == before
    assert figures["times_one"] > 0
    assert 0 < figures["times_most"] <= 2


def test_queues_on_several_servers_are_processed_side_by_side() -> None:
    with stand(program=None, tcp=True, fsync="off", place="apart") as apart:
        before = os.sched_getaffinity(apart.server_pid)
        figures = measured(apart, SCALE_SERVERS, 300, queues=4, servers=2)
        assert os.sched_getaffinity(apart.server_pid) == before
        # Of two servers each has two of the queues.
        assert sorted(apart.redis.scan_iter("bull:all-*:completed")) == ["bull:all-0:completed", "bull:all-2:completed"]
    assert figures["rate"] > 0
    assert figures["times_one"] > 0
    assert figures["times_most"] > 0


# --- floor ------------------------------------------------------------------------------------------------------------


def test_floor_sends_the_commands_that_the_scripts_run(ground: Stand) -> None:
    figures = {how: measured(ground, FLOOR, 500, how=how, aof="no") for how in ("scripts", "commands")}
    assert figures["scripts"]["commands"] == pytest.approx(figures["commands"]["commands"], rel=0.05)
    assert figures["scripts"]["command_us"] > 0
    assert figures["scripts"]["lua_us"] > 0 == figures["commands"]["lua_us"]
    assert ground.redis.config_get("appendonly")["appendonly"] == "yes"


def test_floor_has_the_servers_own_tool_or_says_that_it_is_missing(ground: Stand) -> None:
    if "redis-benchmark is not on PATH" in FLOOR.summary:
        assert all(variant.settings["how"] != "redis-benchmark" for variant in FLOOR.variants)
    else:
        assert measured(ground, FLOOR, 500, how="redis-benchmark", aof="no")["commands"] > 8
