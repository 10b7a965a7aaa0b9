-- Writes the dead letters that prepare_dead_letter made. Each job has one letter, that of its last failure. `counts` by
-- check_dead_letter_types.
local function write_dead_letters(jobs, drafts, counts)
  local open = {}
  for _, one in ipairs(drafts) do
    if one.old.replayed then
      redis.call('ZREM', jobs .. 'corral:dead:replayed', one.id)
    elseif one.old.at then
      open[#open + 1] = one.old
    end
  end
  index_dead_letter(jobs, open, false, counts)
  for _, one in ipairs(drafts) do
    if one.old.at then redis.call('DEL', record_of(jobs, one.id)) end
    redis.call('HSET', record_of(jobs, one.id), unpack(one.fields))
  end
  index_dead_letter(jobs, drafts, true, counts)
end
