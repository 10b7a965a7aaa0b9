-- Whether a job is the pending run of a schedule. Its end would be the end of the schedule.
local function scheduled(schedules, jobs, id)
  if string.sub(id, 1, 7) ~= 'repeat:' then return false end
  local schedule = redis.pcall('HGET', jobs .. id, 'rjk')
  if type(schedule) ~= 'string' then return false end
  local due = redis.call('ZSCORE', schedules, schedule)
  return due and id == 'repeat:' .. schedule .. ':' .. string.format('%.0f', due)
end
