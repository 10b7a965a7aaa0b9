"""Fills a queue with millions of jobs as `add` would store them, without events, and without packing each job in the client.

A test compares its result with that of `add`, key by key.
"""

from __future__ import annotations

from typing import Literal, get_args

from benchmarks.micro.payload import data
from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import JobOptions
from engine.model.records import NewRow

State = Literal["waiting", "prioritized", "delayed"]
STATES: tuple[State, ...] = get_args(State)

_A_CALL = 10_000
_PRIORITIES = 10
_HOUR_MS = 3_600_000
_SPREAD_MS = 24 * _HOUR_MS
_STRIDE = 7919
"""Has no factor in common with the spread, so due times come in no order, and no two jobs share one."""

_FILL = """
local jobs, wait, prioritized, pc, delayed, counter = unpack(KEYS)
local state, timestamp, first, last, before, after = unpack(ARGV, 1, 6)
local ids, scored = {}, {}
local function flush()
  if #ids > 0 then redis.call('LPUSH', wait, unpack(ids)) end
  if #scored > 0 then redis.call('ZADD', state == 'delayed' and delayed or prioritized, unpack(scored)) end
  ids, scored = {}, {}
end
for n = first, last do
  local id, delay, priority, options = string.format('%.0f', n + 1), 0, 0, '{"attempts":0}'
  if state == 'waiting' then
    ids[#ids + 1] = id
  elseif state == 'prioritized' then
    priority = n % 10 + 1
    options = '{"attempts":0,"priority":' .. priority .. '}'
    scored[#scored + 1] = string.format('%.0f', priority * 4294967296 + n + 1)
    scored[#scored + 1] = id
  else
    delay = 3600000 + n * 7919 % 86400000
    options = '{"attempts":0,"delay":' .. delay .. '}'
    scored[#scored + 1] = string.format('%.0f', (timestamp + delay) * 4096)
    scored[#scored + 1] = id
  end
  redis.call('HSET', jobs .. id, 'name', 'job', 'data', before .. string.format('%.0f', n) .. after, 'opts', options,
    'timestamp', timestamp, 'delay', delay, 'priority', priority)
  if #ids + #scored >= 1000 then flush() end
end
flush()
redis.call('SET', counter, last + 1)
if state == 'prioritized' then redis.call('SET', pc, last + 1) end
"""


def row(state: State, number: int, timestamp: int) -> NewRow:
    """Job `number`, from 0, of a queue whose jobs are all in that state."""
    delay = _HOUR_MS + number * _STRIDE % _SPREAD_MS if state == "delayed" else 0
    priority = number % _PRIORITIES + 1 if state == "prioritized" else 0
    options = JobOptions(delay=delay, priority=priority).to_wire()
    return NewRow("", "job", data(number), options, timestamp=timestamp, delay=delay, priority=priority)


async def fill(link: Link, keys: Keys, state: State, jobs: int, timestamp: int) -> None:
    """Put that many into an empty queue."""
    names = keys.pick(("jobs", "wait", "prioritized", "pc", "delayed", "id"))
    before, after = data(0).split(b"0", 1)
    for first in range(0, jobs, _A_CALL):
        last = min(first + _A_CALL, jobs) - 1
        await link.call("EVAL", _FILL, len(names), *names, state, timestamp, first, last, before, after)
