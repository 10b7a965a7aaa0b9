-- Reads of a job's dead letter what decides where it is indexed: id, at (time of the failure, nil where there is no letter), type, error,
-- tenant, replayed (time; nil while it is open), by (id of the replay), times (failures so far), foreign (the key has another type).
local function read_dead_letter(jobs, id)
  local stored = redis.pcall('HMGET', record_of(jobs, id), 'finishedOn', 'name', 'error', 'tenant', 'replayedOn', 'replayedBy', 'times')
  -- pcall: a key of another type is not a letter.
  if stored.err then return { id = id, foreign = true } end
  if not stored[1] then return { id = id } end
  -- Nor is a hash without a time: no index could hold it.
  if not is_time(stored[1]) then return { id = id, foreign = true } end
  return { id = id, at = stored[1], type = stored[2] or '', error = stored[3] or '', tenant = stored[4] or '',
    replayed = stored[5] or nil, by = stored[6] or nil, times = tonumber(stored[7]) or 1 }
end
