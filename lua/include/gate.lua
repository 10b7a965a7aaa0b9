-- What stands in the way of a claim, and how long the event stream may grow.
-- Returns: paused or not; how many more jobs may be active (below 0: too many are); entries kept in the stream; whether jobs of
-- this queue were given children after they were made, so that one may be doomed while it runs (`late`, a field of ours).
local function gate(meta, active)
  local said = redis.call('HMGET', meta, 'paused', 'concurrency', 'opts.maxLenEvents', 'late')
  local room = math.huge
  if said[2] then room = tonumber(said[2]) - redis.call('LLEN', active) end
  return said[1] ~= false, room, said[3] or '10000', said[4] ~= false
end
