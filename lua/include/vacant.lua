-- The first of some times, in ms with commas between, at which a schedule can have a run: no job that has begun is in its place.
local function vacant(jobs, schedule, times)
  for time in string.gmatch(times, '%d+') do
    -- pcall: a foreign key there is no run, and not to be overwritten either.
    local job = redis.pcall('HMGET', jobs .. 'repeat:' .. schedule .. ':' .. time, 'timestamp', 'processedOn')
    if not job.err and not job[2] then return time end
  end
  return false
end
