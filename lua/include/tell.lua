-- Returns the function that writes an event: its name, then names and values. The first of a call shortens the stream too.
-- A queue whose stream is to keep none has none written.
local function teller(events, kept)
  if kept == '0' then return function() end end
  local first = true
  return function(name, ...)
    if first then
      first = false
      redis.call('XADD', events, 'MAXLEN', '~', kept, '*', 'event', name, ...)
    else
      redis.call('XADD', events, '*', 'event', name, ...)
    end
  end
end
