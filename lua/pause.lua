--[[
pause: let no job be claimed until a resume, and move `wait` to the paused list.

MOVES    wait -> paused
CAUSES   none
EMITS    paused

KEYS
  meta    hash    of the queue
  wait    list    ids without a priority
  paused  list    the same while the queue is paused
  active  list    ids of running jobs
  marker  zset    wakes idle workers
  events  stream
ARGV
  now     int     ms, or empty for the server's time
RETURNS
  1 if the queue was not paused before, else 0; 1 if another call is to move more jobs, else 0
  Sent again it moves what producers have added to `wait` since.
]]
local meta, wait, paused, active, marker, events = unpack(KEYS)

--@include read_limits
--@include emit
--@include check_types
--@include merge_paused

local was_paused, _, max_events, mode = read_limits(meta, active)
local emit = emitter(events, max_events, mode)
check_types(events, { wait, paused }, {}, marker)

-- DEL first: a full server allows it, and must not refuse to pause the queue that fills it.
redis.call('DEL', marker)
if not was_paused then redis.call('HSET', meta, 'paused', 1) end
local all = merge_paused(wait, paused)
if not was_paused then
  emit('paused')
end
return { was_paused and 0 or 1, all and 0 or 1 }
