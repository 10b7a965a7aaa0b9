-- Whether a job is the pending run of a schedule: the schedule would end without it. The id of a run by BullMQ 4 has a checksum in place
-- of the schedule's id, so the schedule is read from the hash.
local function scheduled(schedules, jobs, id)
  if string.sub(id, 1, 7) ~= 'repeat:' then return false end
  local schedule = redis.pcall('HGET', jobs .. id, 'rjk')
  if type(schedule) ~= 'string' then return false end
  local due = redis.call('ZSCORE', schedules, schedule)
  return due and string.match(id, ':(%d+)$') == string.format('%.0f', due)
end
