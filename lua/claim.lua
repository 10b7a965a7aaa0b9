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
  four values: a row for each claimed job (name data opts timestamp fence id; of a job that ran before, has a progress or is to fail
  without running, also progress defa priority atm stc stacktrace);
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

now = clock(now)
local is_paused, room, max_events, mode, limits = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
check_types(events, is_paused and { wait, paused, active } or { wait, active }, { prioritized, delayed }, marker, {}, { pc }, true)
local queue = { wait = wait, active = active, prioritized = prioritized, pc = pc, delayed = delayed, marker = marker,
  emit = emit, jobs = jobs, paused_list = is_paused and paused }
local limit = (limits or worker_limit ~= '') and read_rate(meta, limiter, smoothed, limits, worker_limit, now)

local open = not is_paused and room > 0
local promoted, next_due = promote(queue, now, open)
local rows, more, limited_ms = {}, false, 0
if open then
  rows, more = claim(queue, string.format('%d', now), token, lock_ms, worker, math.min(tonumber(count), room, limit and limit.free or room))
  if limit then limited_ms = count_starts(limit, rows, now) end
end
-- A worker that leaves jobs which another could claim wakes the next worker.
more = more and room > #rows
-- So does the one that used up a rate limit: the other reads how long to wait, so that no job depends on this worker alone. And so does
-- a worker that only its own limit stops.
if more and (limited_ms == 0 or #rows > 0 or not limits) then redis.call('ZADD', marker, 0, '0') end
return { rows, next_due, more and limited_ms == 0 and 1 or 0, more and limited_ms or 0 }
