-- All that is stored of a job: its id and its hash, as names and values in turn. False where there is no such job.
local function snapshot(jobs, id)
  -- HGETALL: naming twenty fields costs more than sending the few others. pcall: a key of another type is not a job.
  local fields = redis.pcall('HGETALL', jobs .. id)
  if fields.err or #fields == 0 then return false end
  return { id, fields }
end
