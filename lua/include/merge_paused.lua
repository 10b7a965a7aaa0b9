-- Put waiting jobs behind those of a paused queue, in their order, at most 1,000 unless a few moves do it. Returns
-- whether all are there. Never renames onto a list that exists: that would delete its jobs.
local function merge_paused(wait, paused)
  local waiting = redis.call('LLEN', wait)
  if waiting == 0 then return true end
  local aside = redis.call('LLEN', paused)
  if aside <= math.min(waiting, 1000) then
    -- The shorter line goes in front of the longer one.
    if aside > 0 then
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
