-- What tells where the dead letter of a job stands: id, at (the time of its failure, nil where there is no letter), type, error,
-- tenant, foreign (something else is at its place), replayed (when; nil while it is open), by (whose replay it was), times (failures that it has seen).
local function read_dead_letter(jobs, id)
  local said = redis.pcall('HMGET', record_of(jobs, id), 'finishedOn', 'name', 'error', 'tenant', 'replayedOn', 'replayedBy', 'times')
  -- pcall: the key of another kind is no letter.
  if said.err then return { id = id, foreign = true } end
  if not said[1] then return { id = id } end
  -- Nor is what has no time: it could stand on no shelf.
  local at = tonumber(said[1])
  if not (at and at > -2 ^ 53 and at < 2 ^ 53) then return { id = id, foreign = true } end
  return { id = id, at = said[1], type = said[2] or '', error = said[3] or '', tenant = said[4] or '',
    replayed = said[5] or nil, by = said[6] or nil, times = tonumber(said[7]) or 1 }
end
