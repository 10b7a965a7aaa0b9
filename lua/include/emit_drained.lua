-- After jobs have left `active`: say that the queue is empty, or wake a worker for the slot that they left under a global
-- concurrency. `room` is what there is now.
local function emit_drained(k, is_paused, room)
  local waiting = redis.call('LLEN', k.wait) + redis.call('ZCARD', k.prioritized)
  if waiting > 0 and not is_paused and room > 0 and room < math.huge then
    redis.call('ZADD', k.marker, 0, '0')
  elseif waiting == 0 and redis.call('LLEN', k.active) == 0 then
    k.emit('drained')
  end
end
