-- Raises before the first write if a structure is not of its type: a script that fails after a write is not rolled back.
local function check_types(events, lists, zsets, marker, sets, counters)
  redis.call('XLEN', events)
  for _, key in ipairs(lists) do redis.call('LLEN', key) end
  for _, key in ipairs(zsets or {}) do redis.call('ZCARD', key) end
  if marker then redis.call('ZCARD', marker) end
  for _, key in ipairs(sets or {}) do redis.call('SCARD', key) end
  for _, key in ipairs(counters or {}) do
    if not tonumber(redis.call('GET', key) or 0) then error('a counter of the queue is not a number') end
  end
end
