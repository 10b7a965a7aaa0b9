--[[
cancel: fail a job that has not started, for good; ask the worker of a running job to end it.

MOVES    wait -> failed, paused -> failed, prioritized -> failed, delayed -> failed,
  waiting-children -> failed, wait -> gone, paused -> gone, prioritized -> gone, delayed -> gone,
  waiting-children -> gone, delayed -> wait, delayed -> paused, delayed -> prioritized,
  waiting-children -> wait, waiting-children -> paused, waiting-children -> prioritized
CAUSES   promote_deduplicated, trim, merge_paused
EMITS    failed, waiting, added, delayed, duplicated

KEYS
  meta              hash    of the queue
  wait              list    ids without a priority
  paused            list    the same while the queue is paused
  active            list    ids of running jobs
  prioritized       zset    ids by priority
  pc                counter that keeps one priority first in, first out
  delayed           zset    ids by due time
  waiting_children  zset    parents with open children
  completed         zset    ids by finish time, ms
  failed            zset    ids by finish time, ms
  repeat            zset    schedules
  marker            zset    wakes idle workers
  events            stream
  cancelling        zset    ids of running jobs that were asked to end, by the time, ms
  jobs              prefix  of the job hashes; the script appends an id
ARGV
  now               int     ms, or empty for the server's time
  id                str
  reason            str
  keep              str     COUNT,SECONDS of failed jobs kept, this one included, either empty for no limit; empty: all; see include/trim
RETURNS
  1 failed
  2 asked to end: it is running, or a parent waits for it; the next claim fails it without running it
  3 has ended already, 4 missing, 5 the pending run of a schedule; nothing was written
  Sent again it answers 3 (4 where the job was dropped at once) for a job that waited, and asks again for one that runs.
]]
local meta, wait, paused, active, prioritized, pc, delayed, waiting_children, completed, failed, schedules, marker, events, cancelling,
  jobs = unpack(KEYS)
local now, id, reason, keep = unpack(ARGV)
-- Longer than any lock: a worker that has not read the request by then has lost the job.
local request_ms = 3600000

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include job_exists
--@include scheduled
--@include delete_jobs
--@include trim
--@include merge_paused
--@include enqueue
--@include promote_deduplicated

now = clock(now)
local now_text, job = string.format('%.0f', now), jobs .. id
local is_paused, room, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc, delayed = delayed,
  marker = marker, jobs = jobs, emit = emit }
check_types(events, { wait, paused, active }, { prioritized, delayed, waiting_children, completed, failed, schedules, cancelling },
  marker, {}, { pc })
if not job_exists(jobs, id) then return 4 end
if redis.call('ZSCORE', completed, id) or redis.call('ZSCORE', failed, id) then return 3 end
local from, prev = nil, 'waiting'
for _, set in ipairs({ { delayed, 'delayed' }, { prioritized, 'prioritized' }, { waiting_children, 'waiting-children' } }) do
  if redis.call('ZSCORE', set[1], id) then from, prev = set[1], set[2] end
end

if not from and (redis.call('EXISTS', job .. ':lock') == 1 or redis.call('LPOS', active, id)) then
  -- ZREM first: a full server must not refuse to end a running job. `defa` outlives the worker: if the worker dies, gives the job back
  -- or fails the attempt before it reads the request, the next claim of any worker, BullMQ's too, ends the job.
  redis.call('ZREM', cancelling, id)
  redis.call('HSET', job, 'defa', reason)
  redis.call('ZREMRANGEBYSCORE', cancelling, '-inf', string.format('%.0f', now - request_ms))
  -- Ten random requests are checked, and removed if their job has ended. A fixed choice could be ten jobs that never end.
  for _, other in ipairs(redis.call('ZRANDMEMBER', cancelling, 10)) do
    if redis.pcall('HEXISTS', jobs .. other, 'defa') == 0 then redis.call('ZREM', cancelling, other) end
  end
  redis.call('ZADD', cancelling, now_text, id)
  redis.call('PEXPIRE', cancelling, request_ms)
  return 2
end
if scheduled(schedules, jobs, id) then return 5 end

local stored = redis.call('HMGET', job, 'parentKey', 'deid', 'priority')
-- HDEL first, for a full server.
redis.call('HDEL', job, 'defa')
if stored[1] then
  -- The failure of a child is applied to its parent where a claimed job fails.
  redis.call('HSET', job, 'defa', reason)
  if from == delayed or from == waiting_children then
    enqueue(queue, { id }, { stored[3] }, true)
    redis.call('ZREM', from, id)
    if from == delayed then redis.call('HSET', job, 'delay', 0) end
    emit('waiting', 'jobId', id, 'prev', prev)
    if not is_paused and room > 0 then redis.call('ZADD', marker, 0, '0') end
  end
  return 2
end
-- A job that is not kept does not count for retention.
local is_kept = tonumber(string.match(keep, '^%d+')) ~= 0
if is_kept then
  redis.call('HSET', job, 'failedReason', reason, 'finishedOn', now_text)
  redis.call('ZADD', failed, now_text, id)
else
  delete_jobs(jobs, { id })
end
if from then
  redis.call('ZREM', from, id)
elseif redis.call('LREM', wait, -1, id) == 0 then
  redis.call('LREM', paused, -1, id)
end
emit('failed', 'jobId', id, 'failedReason', reason, 'prev', prev)
if stored[2] then end_deduplication(queue, stored[2], id, now_text) end
if is_kept then trim(failed, jobs, now_text, keep, 1) end
return 1
