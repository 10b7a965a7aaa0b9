-- The first of `times` (ms, separated by commas) at which a schedule can have a run: no job with that run's id has started. False if
-- there is none. `prefix` is the id of a run up to its time.
local function next_free_time(jobs, prefix, times)
  for time in string.gmatch(times, '%d+') do
    -- pcall: a foreign key is not a run, and must not be overwritten.
    local job = redis.pcall('HMGET', jobs .. prefix .. time, 'timestamp', 'processedOn')
    if not job.err and not job[2] then return time end
  end
  return false
end
