-- Marks open dead letters as replayed: their jobs wait to run again. `by` is the id of the replay, `counts` by check_dead_letter_types.
local function mark_replayed(jobs, letters, now_text, by, counts)
  for _, one in ipairs(letters) do
    redis.call('ZADD', jobs .. 'corral:dead:replayed', one.at, one.id)
    redis.call('HSET', record_of(jobs, one.id), 'replayedOn', now_text, 'replayedBy', by)
  end
  index_dead_letter(jobs, letters, false, counts)
end
