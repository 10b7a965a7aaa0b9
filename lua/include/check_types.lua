-- Raises before the first write if a structure is not of its type: a script that fails after a write is not rolled back. With `is_hot`
-- one command checks all sorted sets. It accepts plain sets; the script then fails midway, which loses no job.
local function check_types(events, lists, zsets, marker, sets, counters, is_hot)
  redis.call('XLEN', events)
  for _, key in ipairs(lists) do redis.call('LLEN', key) end
  if is_hot then
    -- It walks through the smallest set; the marker has two members at most.
    local args = { marker, unpack(zsets) }
    args[#args + 1] = 'LIMIT'
    args[#args + 1] = 1
    redis.call('ZINTERCARD', #zsets + 1, unpack(args))
  else
    for _, key in ipairs(zsets or {}) do redis.call('ZCARD', key) end
    if marker then redis.call('ZCARD', marker) end
  end
  for _, key in ipairs(sets or {}) do redis.call('SCARD', key) end
  for _, key in ipairs(counters or {}) do
    if not tonumber(redis.call('GET', key) or 0) then error('a counter of the queue is not a number') end
  end
end
