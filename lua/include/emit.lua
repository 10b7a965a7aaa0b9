-- Counts a large value of the event stream in `meta`, and trims the stream by these bytes. 8 MiB of them make a period; entries from
-- before the last full period are removed. Redis stores a value of over 4 KiB in a node of its own, so `~` can remove it. Only the old
-- end is trimmed: a reader that finds the entry it read last has missed none.
local function trim_large(events, id, bytes)
  local meta = string.sub(events, 1, -7) .. 'meta'
  -- pcall: what another program put into these fields must not break off a script that has written.
  local total = redis.pcall('HINCRBY', meta, 'large', bytes)
  if type(total) == 'number' and total <= 8388608 then return end
  local since = redis.call('HGET', meta, 'large_since')
  redis.call('HSET', meta, 'large', 0, 'large_since', id)
  if since then redis.pcall('XTRIM', events, 'MINID', '~', since, 'LIMIT', 100000) end
end

-- Returns the function that writes an event: its name, then names and values. The first event of a call trims the stream to about
-- `kept` entries. With `kept` false no event is written.
local function emitter(events, kept)
  if not kept then return function() end end
  local first = true
  return function(name, ...)
    local id
    if first then
      first = false
      id = redis.call('XADD', events, 'MAXLEN', '~', kept, '*', 'event', name, ...)
    else
      id = redis.call('XADD', events, '*', 'event', name, ...)
    end
    local _, _, _, value = ...
    if type(value) == 'string' and #value > 4096 then trim_large(events, id, #value) end
  end
end
