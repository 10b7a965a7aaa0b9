-- Write the dead letters that `draft` made. One letter stands for each job: that of its last failure. `counts` as shelves_sound
-- gives them.
local function bury(jobs, drafts, counts)
  local open = {}
  for _, one in ipairs(drafts) do
    if one.old.replayed then
      redis.call('ZREM', jobs .. 'corral:dead:replayed', one.id)
    elseif one.old.at then
      open[#open + 1] = one.old
    end
  end
  shelve(jobs, open, false, counts)
  for _, one in ipairs(drafts) do
    if one.old.at then redis.call('DEL', record_of(jobs, one.id)) end
    redis.call('HSET', record_of(jobs, one.id), unpack(one.fields))
  end
  shelve(jobs, drafts, true, counts)
end
