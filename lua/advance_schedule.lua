--[[
advance_schedule: make the next run of a schedule, once; and say whether the run that begins may go on, by the schedule's rule for
runs that overlap.

MOVES    new -> wait, new -> paused, new -> prioritized, new -> delayed, wait -> paused
EMITS    added, waiting, delayed

KEYS
  meta         hash    of the queue
  id           counter of the jobs ever added
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids being run
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  delayed      zset    ids by due time
  repeat       zset    schedules by the time of their next run, ms
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  schedule     str     its id
  due          int     time of the run after which the next comes; the schedule is left alone if its next run is another one
  times        str     for the next run, ms, the best first, commas between; empty if none follows
  head         bytes   JSON, the options of the next run, up to the time in its id
  priority     int     of its jobs
  lifo         int     1: a run that is due at once goes to the front
  starts       str     id of the run that is to start now, or empty
RETURNS
  0 the next run is there, 1 that was done before, or there is no such schedule, 2 the schedule has ended,
  3 at each of the times a job has run already; then of the run that is to start: 0 go on, 1 not while another is under way,
  2 once the one under way has ended
  Sent again it answers 1, and the same of the run.
]]
local meta, counter, wait, paused, active, prioritized, pc, delayed, schedules, marker, events, jobs = unpack(KEYS)
local now, schedule, due, times, head, priority, lifo, starts = unpack(ARGV)

--@include clock
--@include gate
--@include tell
--@include sound
--@include known
--@include due
--@include gather
--@include place
--@include standing
--@include vacant
--@include make_run

local is_paused, room, kept = gate(meta, active)
sound(events, { wait, paused }, { prioritized, delayed, schedules }, marker, {}, { pc })
local hash = jobs .. 'repeat:' .. schedule
local said = redis.call('HMGET', hash, 'name', 'data', 'ic', 'overlap', 'running', 'queued')
if not said[1] then return { 1, 0 } end

local function under_way(id)
  return id and id ~= starts and known(jobs, id) and redis.call('HEXISTS', jobs .. id, 'finishedOn') == 0
end
local verdict = 0
if starts ~= '' and said[4] then
  if under_way(said[6]) then
    verdict = 1
  elseif under_way(said[5]) then
    verdict = said[4] == 'queue' and 2 or 1
  end
end

local score = redis.call('ZSCORE', schedules, schedule)
local done = 1
if score and string.format('%.0f', score) == due then
  local time = vacant(jobs, schedule, times)
  if time then
    -- BullMQ 5 keeps no data with what it calls repeatable jobs: each run has that of the one before.
    local data = said[2] or (not said[3] and starts ~= '' and redis.call('HGET', jobs .. starts, 'data')) or '{}'
    local k = { aside = is_paused and paused, wait = wait, paused = paused, prioritized = prioritized, pc = pc,
      delayed = delayed, marker = marker, jobs = jobs, tell = teller(events, kept), now = clock(now),
      wake = not is_paused and room > 0 }
    local there = standing(k, 'repeat:' .. schedule .. ':' .. time)
    redis.call('INCR', counter)
    if not there then make_run(k, schedule, time, { name = said[1], data = data, head = head, priority = priority, lifo = lifo }) end
    redis.call('ZADD', schedules, time, schedule)
    if said[3] and time ~= due then redis.call('HINCRBY', hash, 'ic', 1) end
    done = 0
  elseif times == '' then
    redis.call('HSET', hash, 'ended', 1)
    done = 2
  else
    done = 3
  end
end
if starts ~= '' and said[4] and verdict ~= 1 then
  redis.call('HSET', hash, verdict == 0 and 'running' or 'queued', starts)
  if verdict == 0 and said[6] == starts then redis.call('HDEL', hash, 'queued') end
end
return { done, verdict }
