--[[
advance_schedule: add the next run of a schedule, once; and decide whether the run that starts may run now, by the schedule's rule for
overlapping runs.

MOVES    new -> wait, new -> paused, new -> prioritized, new -> delayed
CAUSES   merge_paused
EMITS    added, waiting, delayed

KEYS
  meta         hash    of the queue
  id           counter of the jobs ever added
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
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
  due          int     time of the schedule's next run as the caller knows it; if it is another one by now, nothing is added
  times        str     for the run after that, ms, the best first, separated by commas; empty: the schedule ends
  runs         str     id of a run up to its time
  head         bytes   JSON, options of the next run, up to the time in its id
  priority     int     of its jobs
  lifo         int     1: a run that is due at once goes to the front
  run          str     id of the run that is due at `due`, or that starts now
  starts       int     1: that run starts now
RETURNS
  two numbers. For the chain of runs: 0 the next run was added, 1 it was added before, or there is no such schedule, 2 the schedule has
  ended, 3 at each of the times a run has already started. For the run that starts: 0 run, 1 skip: another run has not ended,
  2 wait until that run has ended
  Sent again it answers 1, and the same for the run.
]]
local meta, counter, wait, paused, active, prioritized, pc, delayed, schedules, marker, events, jobs = unpack(KEYS)
local now, schedule, due, times, runs, head, priority, lifo, run, starts = unpack(ARGV)
starts = starts == '1'

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include job_exists
--@include due
--@include merge_paused
--@include enqueue
--@include find_waiting
--@include next_free_time
--@include make_run

local is_paused, room, max_events, mode = read_limits(meta, active)
check_types(events, { wait, paused }, { prioritized, delayed, schedules }, marker, {}, { pc })
local hash = jobs .. 'repeat:' .. schedule
local stored = redis.call('HMGET', hash, 'name', 'data', 'ic', 'overlap', 'running', 'queued')
-- BullMQ 4 stores no hash for a schedule, and BullMQ 5 not always its data: each run copies them from the run before.
local before = {}
if not (stored[1] and stored[2]) then before = redis.pcall('HMGET', jobs .. run, 'name', 'data') end
local name, data = stored[1] or before[1], stored[2] or before[2] or '{}'
if not name then return { 1, 0 } end

local function has_not_ended(id)
  return id and id ~= run and job_exists(jobs, id) and redis.call('HEXISTS', jobs .. id, 'finishedOn') == 0
end
local verdict = 0
if starts and stored[4] then
  if has_not_ended(stored[6]) then
    verdict = 1
  elseif has_not_ended(stored[5]) then
    verdict = stored[4] == 'queue' and 2 or 1
  end
end

local score = redis.call('ZSCORE', schedules, schedule)
local done = 1
if score and string.format('%.0f', score) == due then
  local time = next_free_time(jobs, runs, times)
  if time then
    local queue = { paused_list = is_paused and paused, wait = wait, paused = paused, prioritized = prioritized, pc = pc,
      delayed = delayed, marker = marker, jobs = jobs, emit = emitter(events, max_events, mode), now = clock(now),
      may_start = not is_paused and room > 0 }
    local there = find_waiting(queue, runs .. time)
    redis.call('INCR', counter)
    if not there then
      make_run(queue, schedule, time, { prefix = runs, name = name, data = data, head = head, priority = priority, lifo = lifo })
    end
    redis.call('ZADD', schedules, time, schedule)
    if stored[3] and time ~= due then redis.call('HINCRBY', hash, 'ic', 1) end
    redis.call('HDEL', hash, 'ended')
    done = 0
  elseif times == '' then
    if stored[1] then redis.call('HSET', hash, 'ended', 1) end
    done = 2
  else
    done = 3
  end
end
if starts and stored[4] and verdict ~= 1 then
  redis.call('HSET', hash, verdict == 0 and 'running' or 'queued', run)
  if verdict == 0 and stored[6] == run then redis.call('HDEL', hash, 'queued') end
end
return { done, verdict }
