-- Whether there is a job of this id. Every job has a timestamp and no other hash of a queue does, so an id that names a
-- structure ("meta", a schedule's) is none.
local function job_exists(jobs, id)
  -- pcall: the key of another kind is no job either.
  return redis.pcall('HEXISTS', jobs .. id, 'timestamp') == 1
end
