-- Whether there is a job with this id. Every job has a timestamp and no other hash of a queue has one, so an id that names a
-- structure ("meta", a schedule) is not a job.
local function job_exists(jobs, id)
  -- pcall: a key of another type is not a job.
  return redis.pcall('HEXISTS', jobs .. id, 'timestamp') == 1
end
