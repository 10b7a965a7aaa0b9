-- All that is stored of a job: its id and its hash, as names and values in turn. False where there is no such job.
local function snapshot(jobs, id)
  -- HGETALL, since naming twenty fields costs more than sending the few others. pcall: another kind of key is no job.
  local fields = redis.pcall('HGETALL', jobs .. id)
  if fields.err or #fields == 0 then return false end
  return { id, fields }
end
