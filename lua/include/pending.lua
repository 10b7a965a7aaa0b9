-- The id of the run of a schedule that is due at `due` (text): `repeat:<schedule>:<ms>`. A run by BullMQ 4 has a checksum in place of the
-- schedule's id: it is searched among the delayed jobs and, where `queue` has wait, paused and prioritized, among their first jobs.
-- `queue` has delayed, jobs; `reach`, how many jobs may be read of each structure; and `runs`, a table that keeps what was found.
local function pending(queue, schedule, due)
  local id = 'repeat:' .. schedule .. ':' .. due
  -- Only the ids of such schedules have colons.
  if not string.find(schedule, ':', 1, true) or redis.call('EXISTS', queue.jobs .. id) == 1 then return id end
  -- Many schedules may be due at one time: its runs are read once.
  local runs = queue.runs[due]
  if not runs then
    runs = {}
    queue.runs[due] = runs
    local function collect(found)
      for _, other in ipairs(found) do
        if string.match(other, '^repeat:.*:(%d+)$') == due then
          local named = redis.pcall('HGET', queue.jobs .. other, 'rjk')
          if type(named) == 'string' then runs[named] = other end
        end
      end
      return #found
    end
    local low, high = string.format('%.0f', due * 4096), string.format('%.0f', due * 4096 + 4095)
    if queue.wait then
      collect(redis.call('LRANGE', queue.wait, -queue.reach, -1))
      collect(redis.call('LRANGE', queue.paused, -queue.reach, -1))
      collect(redis.call('ZRANGE', queue.prioritized, 0, queue.reach - 1))
    end
    queue.reach = queue.reach - collect(redis.call('ZRANGEBYSCORE', queue.delayed, low, high, 'LIMIT', 0, queue.reach))
  end
  return runs[schedule] or id
end
