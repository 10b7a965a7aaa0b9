"""Huey with its Redis list."""

from __future__ import annotations

from functools import partial

from benchmarks.peers import pip
from benchmarks.side import Side

HUEY = Side(
    "huey",
    worker=pip.command("huey", "worker"),
    producer=pip.command("huey", "producer"),
    notes="RedisHuey (blocking pop), hiredis, pickle (default); one worker thread (default) whatever the concurrency asked: "
    "more are slower for a job that does nothing; periodic tasks off, log off. 100 at once = 8 threads; no bulk call. All "
    "results kept = store_none, for ever, none = results off; a None is not stored by default. No events, no locks, no "
    "record of a job that runs: it is lost when the worker dies. A delayed job goes to the worker first, which puts it "
    "aside, and comes back when a thread that looks once a second finds it due. One queue for each consumer",
    can=frozenset(
        {"one", "at once", "sync", "keep all", "keep none", "work", "pace", "delay", "retry"},
    ),
    env=pip.environment(),
    install=partial(pip.install, "huey"),
)
