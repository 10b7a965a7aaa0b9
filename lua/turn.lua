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
  the claimed jobs as two lists, as in `claim`; ms until the next delayed job is due, or -1; 1 if more jobs wait that may be claimed now,
  2 if no job waits, else 0; ms until a rate limit lets one of the waiting jobs start, else 0
  An empty list may be nil.
  Sent again: the rows are refused with 3 and more jobs are claimed; see `recover_claim`.
]]
local meta, wait, paused, active, prioritized, pc, delayed, completed, stalled, marker, events, limiter, smoothed, jobs = unpack(KEYS)
local now, token, lock_ms, worker, count, metrics, worker_limit = unpack(ARGV, 1, 7)
local stride, first = 6, 8

--@include clock
--@include read_limits
--@include emit
--@include delete_jobs
--@include trim

local call, now_text = redis.call, nil
now, now_text = clock(now)
count = tonumber(count)
local is_paused, room, max_events, mode, limits = read_limits(meta, active)
local emit, all_events, result_events = emitter(events, max_events, mode)

-- Before the first write every structure is read, so that a foreign type stops the call (see check_types).
call('XLEN', events)
call('LLEN', active)
call('ZCARD', marker)
call('ZCARD', prioritized)
call('ZCARD', completed)
local tail = string.format('%d', -count - 1)
local waiting = call('LRANGE', wait, tail, '-1')
local first_due = call('ZRANGE', delayed, '0', '0', 'WITHSCORES')[2]
local next_due = first_due and math.floor(first_due / 4096) - now or -1
local is_due = first_due and next_due <= 0

-- The plain form: at most one job is finished and at most one is claimed, and nothing special applies to them: no children, earlier runs,
-- priorities, deduplication, limits. Most calls of a queue that is not saturated are of this form. What a call costs beside
-- its commands is tables and functions: this form makes few. It leaves this block before its first write if the call is not plain, and
-- the full form below, which has the same effect, reads again.
repeat
  local finished, claimed = (#ARGV - first + 1) / stride, math.min(#waiting, count)
  if finished > 1 or claimed > 1 or is_paused or is_due or limits or room < math.huge or worker_limit ~= '' or metrics ~= '' then break end
  local more = #waiting > count
  if not more and call('ZRANGE', prioritized, '0', '0')[1] then break end

  local id, claim_token, fence, value, keep, attempts = unpack(ARGV, first)
  local job, lock
  if id then
    job = jobs .. id
    lock = job .. ':lock'
    if attempts ~= '0' or redis.pcall('GET', lock) ~= claim_token then break end
    local stored = redis.pcall('HMGET', job, 'ats', 'parentKey', 'defa')
    if stored[1] ~= fence or stored[2] or stored[3] or call('EXISTS', stalled, job .. ':dependencies') > 0 then break end
  end
  local next_id, next_job, stored = waiting[#waiting], nil, nil
  if claimed == 1 then
    next_job = jobs .. next_id
    stored = redis.pcall('HMGET', next_job, 'name', 'data', 'opts', 'timestamp', 'ats', 'progress', 'defa')
    if stored.err or not (stored[1] or stored[2] or stored[3]) or stored[5] or stored[6] or stored[7] or next_id == id then break end
  end

  if id then
    call('DEL', lock)
    local is_kept = string.sub(keep, 1, 2) ~= '0,'
    if is_kept then call('HSET', job, 'returnvalue', value, 'finishedOn', now_text, 'atm', '1') end
    emit('completed', 'jobId', id, 'returnvalue', value, 'prev', 'active')
    if is_kept then
      call('ZADD', completed, now_text, id)
      trim(completed, jobs, now_text, keep, 1)
    else
      delete_jobs(jobs, { id })
    end
    call('LREM', active, '-1', id)
  end
  if claimed == 1 then
    call('LMOVE', wait, active, 'RIGHT', 'LEFT')
    call('SET', next_job .. ':lock', token, 'PX', lock_ms)
    call('HSET', next_job, 'processedOn', now_text, 'ats', '1', 'owner', token, 'pb', worker)
    emit('active', 'jobId', next_id, 'prev', 'waiting')
  end
  if more then
    call('ZADD', marker, '0', '0')
  elseif id and claimed == 0 and next_due < 0 and call('LLEN', active) == 0 then
    emit('drained')
  end
  local row = claimed == 1 and { stored[1], stored[2], stored[3], stored[4], '1', next_id }
  return { false, row, false, next_due, more and 1 or 2, 0 }
until true

--@include check_claims
--@include unlock
--@include remove_active
--@include count_metrics
--@include to_count
--@include finish_jobs
--@include lock
--@include claim

-- Functions for effects on other jobs and for rate limits, which few calls need. Making each of them takes time, so they are made here when
-- a call needs them.
local function effects_on_others()
--@include check_types
--@include due
--@include merge_paused
--@include enqueue
--@include parent_keys
--@include release_parents
--@include promote_deduplicated
--@include promote
  return { check_types = check_types, release_parents = release_parents, end_deduplication = end_deduplication, promote = promote }
end
local function rate_limits()
--@include rate
  return read_rate, count_starts
end

local queue = { wait = wait, active = active, prioritized = prioritized, pc = pc, delayed = delayed, marker = marker, emit = emit,
  all_events = all_events, result_events = result_events, jobs = jobs, paused_list = is_paused and paused }
local count_finished = count_metrics(jobs, 'completed', metrics)
local read_rate, count_starts, limit
if limits or worker_limit ~= '' then
  read_rate, count_starts = rate_limits()
  limit = read_rate(meta, limiter, smoothed, limits, worker_limit, now)
end
local good, fields, refused, suspects, locks = check_claims(jobs, active, ARGV, first, stride, 5, stalled)
local effects
-- A job with a parent or a deduplication has fields.
if is_due or next(fields) then
  effects = effects_on_others()
  effects.check_types(events, { wait, is_paused and paused or nil }, {}, false, {}, { pc })
end

if #good > 0 then
  local flow
  local function notify_parents(i)
    flow = flow or effects.release_parents(now)
    flow.completed(jobs .. ARGV[i], fields[i][PARENT_KEY], fields[i][ALSO], ARGV[i + 3])
  end
  unlock(jobs, stalled, ARGV, good, suspects, locks)
  finish_jobs(queue, ARGV, good, fields, { set = completed, field = 'returnvalue', event = 'completed', now_text = now_text,
    notify_parents = notify_parents, end_deduplication = effects and effects.end_deduplication, count = count_finished })
  -- The finished jobs have left `active`: their slots are free under a global concurrency.
  room = room + #good
end

local open = not is_paused and room > 0
if effects then
  -- Jobs may have been delayed or enqueued since these were read.
  local promoted
  promoted, next_due = effects.promote(queue, now, open)
  waiting = call('LRANGE', wait, tail, '-1')
end
local rows, details, more, started, limited_ms = {}, {}, false, 0, 0
if open then
  rows, details, more, started = claim(queue, now_text, token, lock_ms, worker, math.min(count, room, limit and limit.free or room), waiting)
  if limit then limited_ms = count_starts(limit, started, now) end
end
local is_empty = open and not more
-- A worker that leaves jobs which another could claim wakes the next worker.
more = more and room > #rows / 6
-- So does the one that used up a rate limit: the other reads how long to wait, so that no job depends on this worker alone. And so does
-- a worker that only its own limit stops.
if more and (limited_ms == 0 or #rows > 0 or not limits) then call('ZADD', marker, '0', '0') end
if #good > 0 and #rows == 0 and not more and next_due < 0
  and call('LLEN', active) + call('LLEN', wait) + call('ZCARD', prioritized) == 0 then
  emit('drained')
end
return { refused, rows, details, next_due, more and limited_ms == 0 and 1 or is_empty and 2 or 0, more and limited_ms or 0 }
