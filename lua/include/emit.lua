-- Events whose fourth argument is a text of the user, and may be large.
local HAS_USER_VALUE = { added = true, completed = true, failed = true, progress = true }

-- Bounds the event stream by the bytes of its large values, those over 4 KiB. Their sum is counted in `meta`; each 8 MiB begin a new
-- period, and entries from before the last full period are removed. Redis stores a large value in a node of its own, so `~` removes it.
-- Only the old end is trimmed: a reader whose last entry is still in the stream has missed nothing.
local function trim_large(events, id, bytes)
  local meta = string.sub(events, 1, -7) .. 'meta'
  -- pcall: a foreign value in these fields must not abort a script that has written.
  local total = redis.pcall('HINCRBY', meta, 'large', bytes)
  if type(total) == 'number' and total <= 8388608 then return end
  local since = redis.call('HGET', meta, 'large_since')
  redis.call('HSET', meta, 'large', 0, 'large_since', id)
  if since then redis.pcall('XTRIM', events, 'MINID', '~', since, 'LIMIT', 100000) end
end

-- Returns emit(name, field, value, ...), which writes an event if `mode` asks for it; its first entry trims the stream to about
-- `max_events`. With 'results' only events that end a job are written: completed, failed and removed.
-- Returns also the key of the stream, or false, for loops that write small events by a cheaper XADD of their own: the first if all events
-- are written, the second if those of results are. Such a loop writes its first event by `emit`, which trims, and large values too.
local function emitter(events, max_events, mode)
  if mode == 'none' then return function() end, false, false end
  local first = true
  -- What callers that wait for a job need: Node's `waitUntilFinished` reads the first two, ours all.
  local wanted = mode == 'results' and { completed = true, failed = true, removed = true }
  local function emit(name, ...)
    if wanted and not wanted[name] then return end
    local id
    if first then
      first = false
      id = redis.call('XADD', events, 'MAXLEN', '~', max_events, '*', 'event', name, ...)
    else
      id = redis.call('XADD', events, '*', 'event', name, ...)
    end
    if HAS_USER_VALUE[name] then
      local _, _, _, value = ...
      if #value > 4096 then trim_large(events, id, #value) end
    end
  end
  return emit, not wanted and events, events
end
