--[[
resume: let jobs be claimed again after a pause, the paused ones first.

MOVES    paused -> wait, wait -> paused
CAUSES   none
EMITS    resumed

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  delayed      zset    ids by due time
  marker       zset    wakes idle workers
  events       stream
ARGV
  now          int     ms, or empty for the server's time
RETURNS
  1 if this call ended a pause, else 0; 1 if another call is needed to end it, else 0
  Sent again it answers 0, and wakes a worker again. A resume of a queue that is not paused wakes one too: a resume by BullMQ 5
  wakes no worker for jobs that BullMQ 6 added during the pause.
]]
local meta, wait, paused, active, prioritized, delayed, marker, events = unpack(KEYS)

--@include read_limits
--@include emit
--@include check_types
--@include due
--@include merge_paused

local was_paused, room, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
check_types(events, { wait, paused }, { prioritized, delayed }, marker)
local has_paused = redis.call('EXISTS', paused) == 1

-- Jobs in `wait` are by producers that do not use the paused list. They are merged behind the paused jobs, so that one RENAME moves
-- all, at any length. Until then the queue stays paused: no job is claimed out of order.
if has_paused then
  -- DEL first: a full server refuses LPUSH as the first write. A paused queue has no marker anyway.
  redis.call('DEL', marker)
  if not merge_paused(wait, paused) then return { 0, 1 } end
  redis.call('RENAME', paused, wait)
end
redis.call('HDEL', meta, 'paused')
if room > 0 and redis.call('LLEN', wait) + redis.call('ZCARD', prioritized) > 0 then
  redis.call('ZADD', marker, 0, '0')
else
  mark_due(delayed, marker)
end
if was_paused then
  emit('resumed')
end
return { was_paused and 1 or 0, 0 }
