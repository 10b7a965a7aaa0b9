-- Ids of one state in the order in which they run, are due or finished; not `ascending`, the other way. `k` has the key of each
-- structure under its name on the wire; `waiting` is wait and paused together.
local function ids_in_state(k, state, start, count, ascending)
  -- A resume puts paused jobs before those that wait.
  local lists = { wait = { k.wait }, paused = { k.paused }, active = { k.active }, waiting = { k.paused, k.wait } }
  local from = lists[state]
  if not from then return redis.call(ascending and 'ZRANGE' or 'ZREVRANGE', k[state], start, start + count - 1) end
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
