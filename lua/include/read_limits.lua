-- What stands in the way of a claim, and how long the event stream may grow.
-- Returns: paused or not; how many more jobs may be active (below 0: too many are); entries kept in the stream, false where no
-- events are to be written (`silent`, a field of ours); what the queue says of how fast jobs may start (see rate), false where it
-- says nothing.
local function read_limits(meta, active)
  local said = redis.call('HMGET', meta, 'paused', 'concurrency', 'opts.maxLenEvents', 'max', 'duration', 'hold', 'silent')
  local room = math.huge
  if said[2] then room = tonumber(said[2]) - redis.call('LLEN', active) end
  local pace = (said[4] or said[6]) and { max = said[4], duration = said[5], hold = tonumber(said[6]) }
  local kept = not said[7] and (said[3] or '10000')
  -- BullMQ's 0 asks for a short stream. MAXLEN ~ 0 would remove the entry that it writes before a blocked reader sees it.
  if kept == '0' then kept = '100' end
  return said[1] ~= false, room, kept, pace
end
