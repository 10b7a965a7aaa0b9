-- Appends the jobs of `wait` to the paused list, in their order: at most 1,000 in a call, or all where renaming does it. Returns
-- whether `wait` is empty now. It never renames onto a list that exists: RENAME would delete its jobs.
local function merge_paused(wait, paused)
  local waiting = redis.call('LLEN', wait)
  if waiting == 0 then return true end
  local paused_count = redis.call('LLEN', paused)
  if paused_count <= math.min(waiting, 1000) then
    -- The shorter list is moved in front of the longer one.
    if paused_count > 0 then
      redis.call('RPUSH', wait, unpack(redis.call('LRANGE', paused, 0, -1)))
      redis.call('DEL', paused)
    end
    redis.call('RENAME', wait, paused)
    return true
  end
  local ids = redis.call('LRANGE', wait, -1000, -1)
  for i = 1, math.floor(#ids / 2) do ids[i], ids[#ids + 1 - i] = ids[#ids + 1 - i], ids[i] end
  redis.call('LPUSH', paused, unpack(ids))
  redis.call('LTRIM', wait, 0, -#ids - 1)
  return redis.call('EXISTS', wait) == 0
end
