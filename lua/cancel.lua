--[[
cancel: fail a job that waits, now and for good; ask for the end of one that is being run.

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
  active            list    ids being run
  prioritized       zset    ids by priority
  pc                counter that keeps one priority first in, first out
  delayed           zset    ids by due time
  waiting_children  zset    parents whose children are not all done
  completed         zset    ids by finish time, ms
  failed            zset    ids by finish time, ms
  repeat            zset    schedules
  marker            zset    wakes idle workers
  events            stream
  cancelling        zset    ids that were asked to end, by when, ms
  jobs              prefix  of the job hashes; the script appends an id
ARGV
  now               int     ms, or empty for the server's time
  id                str
  reason            str
  keep              str     COUNT,SECONDS of failed jobs kept, this one included, each empty for no limit; empty for all; see trim
RETURNS
  1 failed
  2 asked to end: it is being run, or a parent waits for it; whoever takes it next fails it without running
  3 over already, 4 missing, 5 the pending run of a schedule; nothing was written
  Sent again it answers 3 (4 where the job was dropped at once) for a job that waited, and asks again for one that runs.
]]
local meta, wait, paused, active, prioritized, pc, delayed, waiting_children, completed, failed, schedules, marker, events, cancelling,
  jobs = unpack(KEYS)
local now, id, reason, keep = unpack(ARGV)
-- No lock lasts longer: a worker that has not heard by then has lost the job.
local heard_within = 3600000

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
local is_paused, room, max_events = read_limits(meta, active)
local emit = emitter(events, max_events)
local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc, delayed = delayed, marker = marker, jobs = jobs,
  emit = emit }
check_types(events, { wait, paused, active }, { prioritized, delayed, waiting_children, completed, failed, schedules, cancelling }, marker, {}, { pc })
if not job_exists(jobs, id) then return 4 end
if redis.call('ZSCORE', completed, id) or redis.call('ZSCORE', failed, id) then return 3 end
local from, prev = nil, 'waiting'
for _, set in ipairs({ { delayed, 'delayed' }, { prioritized, 'prioritized' }, { waiting_children, 'waiting-children' } }) do
  if redis.call('ZSCORE', set[1], id) then from, prev = set[1], set[2] end
end

if not from and (redis.call('EXISTS', job .. ':lock') == 1 or redis.call('LPOS', active, id)) then
  -- ZREM first: a full server must not refuse to end what runs. `defa` outlives the worker: if it dies, lets the job go or
  -- fails the attempt before it has heard, the next claim of anyone, BullMQ's too, ends the job.
  redis.call('ZREM', cancelling, id)
  redis.call('HSET', job, 'defa', reason)
  redis.call('ZREMRANGEBYSCORE', cancelling, '-inf', string.format('%.0f', now - heard_within))
  -- Those that have ended go some at a time, by chance: those that do not end must not be looked at for ever.
  for _, other in ipairs(redis.call('ZRANDMEMBER', cancelling, 10)) do
    if redis.pcall('HEXISTS', jobs .. other, 'defa') == 0 then redis.call('ZREM', cancelling, other) end
  end
  redis.call('ZADD', cancelling, now_text, id)
  redis.call('PEXPIRE', cancelling, heard_within)
  return 2
end
if scheduled(schedules, jobs, id) then return 5 end

local fields = redis.call('HMGET', job, 'parentKey', 'deid', 'priority')
-- HDEL first, for a full server.
redis.call('HDEL', job, 'defa')
if fields[1] then
  -- What a child's failure means to its parent is decided where jobs fail after a claim.
  redis.call('HSET', job, 'defa', reason)
  if from == delayed or from == waiting_children then
    enqueue(queue, { id }, { fields[3] }, true)
    redis.call('ZREM', from, id)
    if from == delayed then redis.call('HSET', job, 'delay', 0) end
    emit('waiting', 'jobId', id, 'prev', prev)
    if not is_paused and room > 0 then redis.call('ZADD', marker, 0, '0') end
  end
  return 2
end
-- A job of which nothing is kept takes no other with it.
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
if fields[2] then
  -- The end of a job ends its deduplication, unless a window of its own still runs.
  local window = jobs .. 'de:' .. fields[2]
  local left = redis.call('PTTL', window)
  if left == 0 or (left == -1 and redis.pcall('GET', window) == id and not promote_deduplicated(queue, fields[2], now_text)) then
    redis.call('DEL', window)
  end
end
if is_kept then trim(failed, jobs, now_text, keep, 1) end
return 1
