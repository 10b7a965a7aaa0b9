-- Raise, before anything is written, if a structure is not of its type: a script that fails midway is not rolled back. With `often`
-- all sorted sets are checked by one command, and plain sets pass it: then the script fails midway, which loses no job.
local function check_types(events, lists, zsets, marker, sets, counters, often)
  redis.call('XLEN', events)
  for _, key in ipairs(lists) do redis.call('LLEN', key) end
  if often then
    -- It looks through the smallest of them, and the marker has two members at most.
    local asked = { marker, unpack(zsets) }
    asked[#asked + 1] = 'LIMIT'
    asked[#asked + 1] = 1
    redis.call('ZINTERCARD', #zsets + 1, unpack(asked))
  else
    for _, key in ipairs(zsets or {}) do redis.call('ZCARD', key) end
    if marker then redis.call('ZCARD', marker) end
  end
  for _, key in ipairs(sets or {}) do redis.call('SCARD', key) end
  for _, key in ipairs(counters or {}) do
    if not tonumber(redis.call('GET', key) or 0) then error('a counter of the queue is not a number') end
  end
end
