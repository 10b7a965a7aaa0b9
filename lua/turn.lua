--[[
turn: finish jobs and claim others in one call: what a busy worker calls. `finish` and `claim` do the same apart.

MOVES    active -> completed, active -> gone, wait -> active, prioritized -> active
CAUSES   release_parents, promote_deduplicated, promote, trim, merge_paused
EMITS    completed, active, waiting, missing, drained, added, delayed, duplicated

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  delayed      zset    ids by due time
  completed    zset    ids by finish time, ms
  stalled      set     ids that a BullMQ worker marked as possibly stalled
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
  metrics      int     minutes of counts kept for getMetrics; empty: jobs are not counted
  worker_limit str     MAX,MS of the worker's own rate limit, or empty
ROWS
  id           str
  token        str     of the claim
  fence        int     `ats` of the claim
  value        bytes   JSON
  keep         str     COUNT,SECONDS of completed jobs kept, this one included, either empty for no limit; empty: all; see include/trim
  attempts     int     `atm` as the claim read it; empty: read it from the hash, which may have a deduplication
RETURNS
  for each refused row: its number from 0, then 1 lost (another claim holds the job), 2 missing, 3 done before by this claim, 4 doomed: a child
  failed that it needs, or 7 pending: children that it needs are not done;
  the claimed rows, as in `claim`; ms until the next delayed job is due, or -1; 1 if more jobs wait that may be claimed now, 2 if no job
  waits, else 0; ms until a rate limit lets one of the waiting jobs start, else 0
  Sent again: the rows are refused with 3 and more jobs are claimed; see `recover_claim`.
]]
local meta, wait, paused, active, prioritized, pc, delayed, completed, stalled, marker, events, limiter, smoothed, jobs = unpack(KEYS)
local now, token, lock_ms, worker, count, metrics, worker_limit = unpack(ARGV, 1, 7)
local stride, first = 6, 8

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include due
--@include check_claims
--@include unlock
--@include delete_jobs
--@include trim
--@include remove_active
--@include count_metrics
--@include merge_paused
--@include enqueue
--@include parent_keys
--@include release_parents
--@include promote_deduplicated
--@include to_count
--@include finish_jobs
--@include promote
--@include lock
--@include claim
--@include rate

now = clock(now)
local now_text = string.format('%d', now)
local is_paused, room, max_events, mode, limits = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
check_types(events, is_paused and { wait, paused, active } or { wait, active }, { prioritized, delayed, completed }, marker, {}, { pc }, true)
local queue = { wait = wait, active = active, prioritized = prioritized, pc = pc, delayed = delayed, marker = marker,
  emit = emit, jobs = jobs, paused_list = is_paused and paused }
local count_finished = count_metrics(jobs, 'completed', metrics)
local limit = (limits or worker_limit ~= '') and read_rate(meta, limiter, smoothed, limits, worker_limit, now)

local good, fields, refused, suspects, locks = check_claims(jobs, active, ARGV, first, stride, 5, stalled)
local flow
local function notify_parents(i)
  flow = flow or release_parents(now)
  flow.completed(jobs .. ARGV[i], fields[i][PARENT_KEY], fields[i][ALSO], ARGV[i + 3])
end
unlock(jobs, stalled, ARGV, good, suspects, locks)
finish_jobs(queue, ARGV, good, fields, { set = completed, field = 'returnvalue', event = 'completed', now_text = now_text,
  notify_parents = notify_parents, count = count_finished })

-- The finished jobs have left `active`: their slots are free under a global concurrency.
room = room + #good
local open = not is_paused and room > 0
local promoted, next_due = promote(queue, now, open)
local rows, more, limited_ms = {}, false, 0
if open then
  rows, more = claim(queue, now_text, token, lock_ms, worker, math.min(tonumber(count), room, limit and limit.free or room))
  if limit then limited_ms = count_starts(limit, rows, now) end
end
local is_empty = open and not more
-- A worker that leaves jobs which another could claim wakes the next worker.
more = more and room > #rows
-- So does the one that used up a rate limit: the other reads how long to wait, so that no job depends on this worker alone. And so does
-- a worker that only its own limit stops.
if more and (limited_ms == 0 or #rows > 0 or not limits) then redis.call('ZADD', marker, 0, '0') end
if #good > 0 and #rows == 0 and not more and next_due < 0
  and redis.call('LLEN', active) + redis.call('LLEN', wait) + redis.call('ZCARD', prioritized) == 0 then
  emit('drained')
end
return { refused, rows, next_due, more and limited_ms == 0 and 1 or is_empty and 2 or 0, more and limited_ms or 0 }
