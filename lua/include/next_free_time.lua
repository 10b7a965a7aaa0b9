-- The first of some times, in ms with commas between, at which a schedule can have a run: no job that has begun is in its place.
-- `runs` is what the ids of its runs begin with, up to the time.
local function next_free_time(jobs, runs, times)
  for time in string.gmatch(times, '%d+') do
    -- pcall: a foreign key there is no run, and not to be overwritten either.
    local job = redis.pcall('HMGET', jobs .. runs .. time, 'timestamp', 'processedOn')
    if not job.err and not job[2] then return time end
  end
  return false
end
