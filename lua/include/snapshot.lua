-- A reply with more bytes than this would block the server for too long: the caller asks for the rest by another call.
local REPLY_BYTES = 1048576

-- All that is stored of a job: its id and its hash, as names and values in turn. False where there is no such job. Also returns the bytes
-- of the values.
local function snapshot(jobs, id)
  -- HGETALL: naming twenty fields costs more than sending the few others. pcall: a key of another type is not a job.
  local fields = redis.pcall('HGETALL', jobs .. id)
  if fields.err or #fields == 0 then return false, 0 end
  local bytes = 0
  for n = 2, #fields, 2 do bytes = bytes + #fields[n] end
  return { id, fields }, bytes
end
