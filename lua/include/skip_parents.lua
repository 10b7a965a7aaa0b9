-- Called when a new counter has given its first `count` numbers. BullMQ's obliterate deletes the counter, but not the parents that wait
-- for children: their numbers are taken, and `count` others are given. Returns the number before the first.
local function skip_parents(counter, jobs, count)
  local highest = 0
  for _, id in ipairs(redis.pcall('ZRANGE', jobs .. 'waiting-children', 0, 999)) do
    if string.find(id, '^[1-9]%d*$') then highest = math.max(highest, tonumber(id)) end
  end
  if highest > 0 then redis.call('INCRBY', counter, highest) end
  return highest
end
