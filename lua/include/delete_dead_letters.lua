-- Deletes dead letters, open or replayed. At most 1,000 ids.
local function delete_dead_letters(jobs, ids)
  if #ids == 0 then return end
  local letters, records = {}, {}
  for n, id in ipairs(ids) do
    letters[n] = read_dead_letter(jobs, id)
    records[n] = record_of(jobs, id)
  end
  local counts = check_dead_letter_types(jobs, letters)
  -- Records last: they say in which indexes a letter is.
  redis.call('ZREM', jobs .. 'corral:dead:replayed', unpack(ids))
  index_dead_letter(jobs, letters, false, counts)
  redis.call('DEL', unpack(records))
end
