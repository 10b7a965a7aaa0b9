-- The id of the run that is due at `due`, a text, of a schedule: `repeat:<schedule>:<ms>`; where BullMQ 4 made it, `repeat:<checksum>:<ms>`,
-- which is found while it is delayed or, if these are given, among the first of those in line. `k` names the keys: delayed jobs,
-- and perhaps wait paused prioritized; and has: `reach`, how many jobs may be read of each, and `runs`, a table.
local function pending(k, schedule, due)
  local id = 'repeat:' .. schedule .. ':' .. due
  -- Only the keys of such schedules have colons.
  if not string.find(schedule, ':', 1, true) or redis.call('EXISTS', k.jobs .. id) == 1 then return id end
  -- Many schedules are due at the same time: the runs of one time are read once.
  local runs = k.runs[due]
  if not runs then
    runs = {}
    k.runs[due] = runs
    local function note(found)
      for _, other in ipairs(found) do
        if string.match(other, '^repeat:.*:(%d+)$') == due then
          local named = redis.pcall('HGET', k.jobs .. other, 'rjk')
          if type(named) == 'string' then runs[named] = other end
        end
      end
      return #found
    end
    local low, high = string.format('%.0f', due * 4096), string.format('%.0f', due * 4096 + 4095)
    if k.wait then
      note(redis.call('LRANGE', k.wait, -k.reach, -1))
      note(redis.call('LRANGE', k.paused, -k.reach, -1))
      note(redis.call('ZRANGE', k.prioritized, 0, k.reach - 1))
    end
    k.reach = k.reach - note(redis.call('ZRANGEBYSCORE', k.delayed, low, high, 'LIMIT', 0, k.reach))
  end
  return runs[schedule] or id
end
