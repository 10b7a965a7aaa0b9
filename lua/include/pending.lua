-- The id of the run that is due at `due`, a text, of a schedule: `repeat:<schedule>:<ms>`; where BullMQ 4 made it, `repeat:<checksum>:<ms>`,
-- which is found while it is delayed or, if these are given, among the first of those in line. `k` names the keys: delayed jobs,
-- and perhaps wait paused prioritized; and `reach`, how many jobs may be looked at in each.
local function pending(k, schedule, due)
  local id = 'repeat:' .. schedule .. ':' .. due
  -- Only the keys of such schedules have colons.
  if k.reach < 1 or not string.find(schedule, ':', 1, true) or redis.call('EXISTS', k.jobs .. id) == 1 then return id end
  local function among(found)
    for _, other in ipairs(found) do
      if string.match(other, '^repeat:.*:(%d+)$') == due and redis.pcall('HGET', k.jobs .. other, 'rjk') == schedule then return other end
    end
  end
  local low, high = string.format('%.0f', due * 4096), string.format('%.0f', due * 4096 + 4095)
  local delayed = redis.call('ZRANGEBYSCORE', k.delayed, low, high, 'LIMIT', 0, k.reach)
  local found = among(delayed)
  if not found and k.wait then
    found = among(redis.call('LRANGE', k.wait, -k.reach, -1)) or among(redis.call('LRANGE', k.paused, -k.reach, -1))
      or among(redis.call('ZRANGE', k.prioritized, 0, k.reach - 1))
  end
  k.reach = k.reach - #delayed
  return found or id
end
