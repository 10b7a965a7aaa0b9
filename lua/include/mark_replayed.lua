-- Mark open dead letters as replayed: their jobs are in line again. `by` says whose replay it was. `moment` is the time as text,
-- `counts` is by shelves_sound.
local function mark_replayed(jobs, letters, moment, by, counts)
  for _, one in ipairs(letters) do
    redis.call('ZADD', jobs .. 'corral:dead:replayed', one.at, one.id)
    redis.call('HSET', record_of(jobs, one.id), 'replayedOn', moment, 'replayedBy', by)
  end
  index_dead_letter(jobs, letters, false, counts)
end
