-- Whether a job is the pending run of a schedule. Its end would be the end of the schedule. Before the time its id may have a
-- checksum instead of the schedule, as BullMQ 4 makes it.
local function scheduled(schedules, jobs, id)
  if string.sub(id, 1, 7) ~= 'repeat:' then return false end
  local schedule = redis.pcall('HGET', jobs .. id, 'rjk')
  if type(schedule) ~= 'string' then return false end
  local due = redis.call('ZSCORE', schedules, schedule)
  return due and string.match(id, ':(%d+)$') == string.format('%.0f', due)
end
