-- How a script writes events: returns a function that takes an event's name, then names and values, and one to call at the
-- end, which shortens the stream if anything was told. A queue whose stream is to keep none has none written.
local function teller(events, kept)
  if kept == '0' then return function() end, function() end end
  local told = false
  local function tell(name, ...)
    told = true
    redis.call('XADD', events, '*', 'event', name, ...)
  end
  return tell, function() if told then redis.call('XTRIM', events, 'MAXLEN', '~', kept) end end
end
