--[[
claim: claim waiting jobs for a worker, each with its own lock; delayed jobs that are due are enqueued first.

MOVES    wait -> active, prioritized -> active
CAUSES   promote, merge_paused
EMITS    active, waiting, missing

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  delayed      zset    ids by due time
  marker       zset    wakes idle workers
  events       stream
  limiter      counter of the jobs that started in the window of a rate limit
  smoothed     str     time up to which starts have used a smoothed rate limit, us
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  token        str     names this call; the value of every lock that it sets
  lock         int     ms until a lock expires
  worker       str     name stored as the one that processed the job
  count        int     jobs to claim at most
  worker_limit str     MAX,MS of the worker's own rate limit, or empty
RETURNS
  five values: the claimed jobs as one list (name data opts timestamp fence id of each); of those that ran before, have a progress or are
  to fail without running, another list (number of the job in the first list from 0, progress defa priority atm stc stacktrace of each);
  ms until the next delayed job is due, or -1; 1 if more jobs wait that may be claimed now, else 0;
  ms until a rate limit lets one of the waiting jobs start, else 0
  Sent again with the same token it claims more jobs; `recover_claim` finds those of a call whose reply was lost.
]]
local meta, wait, paused, active, prioritized, pc, delayed, marker, events, limiter, smoothed, jobs = unpack(KEYS)
local now, token, lock_ms, worker, count, worker_limit = unpack(ARGV)

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include merge_paused
--@include enqueue
--@include promote
--@include lock
--@include claim
--@include rate

local now_text
now, now_text = clock(now)
count = tonumber(count)
local is_paused, room, max_events, mode, limits = read_limits(meta, active)
local emit, all_events = emitter(events, max_events, mode)
check_types(events, is_paused and { wait, paused, active } or { wait, active }, { prioritized, delayed }, marker, {}, { pc })
local queue = { wait = wait, active = active, prioritized = prioritized, pc = pc, delayed = delayed, marker = marker,
  emit = emit, all_events = all_events, jobs = jobs, paused_list = is_paused and paused }
local limit = (limits or worker_limit ~= '') and read_rate(meta, limiter, smoothed, limits, worker_limit, now)

local open = not is_paused and room > 0
local promoted, next_due = promote(queue, now, open)
local rows, details, more, started, limited_ms = {}, {}, false, 0, 0
if open then
  rows, details, more, started = claim(queue, now_text, token, lock_ms, worker, math.min(count, room, limit and limit.free or room),
    redis.call('LRANGE', wait, -count - 1, -1))
  if limit then limited_ms = count_starts(limit, started, now) end
end
-- A worker that leaves jobs which another could claim wakes the next worker.
more = more and room > #rows / 6
-- So does the one that used up a rate limit: the other reads how long to wait, so that no job depends on this worker alone. And so does
-- a worker that only its own limit stops.
if more and (limited_ms == 0 or #rows > 0 or not limits) then redis.call('ZADD', marker, 0, '0') end
return { rows, details, next_due, more and limited_ms == 0 and 1 or 0, more and limited_ms or 0 }
