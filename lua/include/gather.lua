-- Put waiting jobs behind those of a paused queue, in their order, at most 1,000 unless one move does it. Returns whether
-- all are there. Never renames onto a list that exists: that would delete its jobs.
local function gather(wait, paused)
  if redis.call('EXISTS', wait) == 0 then return true end
  if redis.call('EXISTS', paused) == 0 then
    redis.call('RENAME', wait, paused)
    return true
  end
  local ids = redis.call('LRANGE', wait, -1000, -1)
  for i = 1, math.floor(#ids / 2) do ids[i], ids[#ids + 1 - i] = ids[#ids + 1 - i], ids[i] end
  redis.call('LPUSH', paused, unpack(ids))
  redis.call('LTRIM', wait, 0, -#ids - 1)
  return redis.call('EXISTS', wait) == 0
end
