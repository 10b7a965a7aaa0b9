--[[
resume: let jobs be claimed again after a pause, those that were paused first.

MOVES    paused -> wait, wait -> paused
CAUSES   none
EMITS    resumed

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids being run
  prioritized  zset    ids by priority
  delayed      zset    ids by due time
  marker       zset    wakes idle workers
  events       stream
ARGV
  now          int     ms, or empty for the server's time
RETURNS
  1 if the queue was paused until this call, else 0; 1 if a further call is to complete it, else 0
  Sent again it answers 0, and wakes a worker once more. So does a resume of a queue that is not paused: one by BullMQ 5 wakes nobody
  for what BullMQ 6 added in the pause.
]]
local meta, wait, paused, active, prioritized, delayed, marker, events = unpack(KEYS)

--@include read_limits
--@include emit
--@include check_types
--@include due
--@include merge_paused

local was_paused, room, max_events = read_limits(meta, active)
local emit = emitter(events, max_events)
check_types(events, { wait, paused }, { prioritized, delayed }, marker)
local paused_list = redis.call('EXISTS', paused) == 1

-- Jobs in `wait` come from producers that do not put them aside. They go behind the paused ones, so that the whole line
-- moves back in one step, at whatever length. Until then the queue stays paused: nothing is claimed out of order.
if paused_list then
  -- A full server refuses LPUSH as a first write, but not after this. A paused queue has no marker anyway.
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
