-- Ids of one state, `count` from `start` on. `ascending`: next to run, next due or first finished comes first; else last.
-- `keys` has the key of each structure by its name on the wire; the state `waiting` is wait and paused together.
local function ids_in_state(keys, state, start, count, ascending)
  -- Paused jobs run before those in `wait`.
  local lists = { wait = { keys.wait }, paused = { keys.paused }, active = { keys.active }, waiting = { keys.paused, keys.wait } }
  local from = lists[state]
  if not from then return redis.call(ascending and 'ZRANGE' or 'ZREVRANGE', keys[state], start, start + count - 1) end
  local ids = {}
  for n = 1, #from do
    local list = from[ascending and n or #from + 1 - n]
    -- The tail runs first, so ascending is from the tail.
    local low, high = start, start + count - #ids - 1
    if ascending then low, high = -high - 1, -low - 1 end
    local found = high < low and {} or redis.call('LRANGE', list, low, high)
    for i = 1, #found do ids[#ids + 1] = found[ascending and #found + 1 - i or i] end
    start = math.max(0, start - redis.call('LLEN', list))
  end
  return ids
end
