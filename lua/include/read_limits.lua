-- Reads from `meta` what limits claims, and which events are written. Returns:
--   is_paused; room: how many more jobs may be active under the global concurrency, below 0 if too many are
--   max_events: entries kept in the event stream; mode: 'all', 'results' or 'none' (see emitter; `events`, a field of ours)
--   limits: max, duration, hold of the rate limit (see read_rate), false where the queue has none. Not read with `no_rate`: each
--   field costs time
local function read_limits(meta, active, no_rate)
  local stored
  if no_rate then
    stored = redis.call('HMGET', meta, 'paused', 'concurrency', 'opts.maxLenEvents', 'events')
  else
    stored = redis.call('HMGET', meta, 'paused', 'concurrency', 'opts.maxLenEvents', 'events', 'max', 'duration', 'hold')
  end
  local room = math.huge
  if stored[2] then room = tonumber(stored[2]) - redis.call('LLEN', active) end
  local limits = (stored[5] or stored[7]) and { max = stored[5], duration = stored[6], hold = tonumber(stored[7]) }
  local max_events = stored[3] or '10000'
  -- BullMQ's 0 asks for a short stream. MAXLEN ~ 0 would remove the entry that it writes before a blocked reader sees it.
  if max_events == '0' then max_events = '100' end
  return stored[1] ~= false, room, max_events, stored[4] or 'all', limits
end
