-- Called after jobs have left `active`. Emits `drained` if no job waits or runs; or wakes a worker for the slots that became free under
-- a global concurrency. `room` is how many jobs may start now. `queue` has wait, prioritized, active, marker, emit.
local function emit_drained(queue, is_paused, room)
  local waiting = redis.call('LLEN', queue.wait) + redis.call('ZCARD', queue.prioritized)
  if waiting > 0 and not is_paused and room > 0 and room < math.huge then
    redis.call('ZADD', queue.marker, '0', '0')
  elseif waiting == 0 and redis.call('LLEN', queue.active) == 0 then
    queue.emit('drained')
  end
end
