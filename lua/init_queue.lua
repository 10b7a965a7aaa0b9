--[[
init_queue: register a queue, so that tools find it, with the library that opened it last.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  meta        hash    of the queue
  id          counter of the jobs ever added
ARGV
  now         int     ms, or empty for the server's time
  version     str     library and its version
  max_events  int     entries kept in the event stream; empty: what the queue has stored already, else 10,000
  events      str     which events Corral writes: all, results or none; empty: what the queue has stored already, else all
RETURNS
  1 if something was written, else 0
  Sent again it answers 0.
]]
local meta, counter = unpack(KEYS)
local _, version, max_events, events = unpack(ARGV)

local stored = redis.call('HMGET', meta, 'version', 'opts.maxLenEvents', 'events')
local is_known = redis.call('EXISTS', counter) == 1
local stored_events = stored[3] or 'all'
if max_events == '' then max_events = stored[2] or '10000' end
if events == '' then events = stored_events end
-- Without a change nothing is written, so that a registered queue opens on a full server too.
if is_known and stored[1] == version and stored[2] == max_events and stored_events == events then return 0 end
redis.call('HSET', meta, 'version', version, 'opts.maxLenEvents', max_events)
if events == 'all' then
  redis.call('HDEL', meta, 'events')
else
  -- A field of our own: BullMQ overwrites `opts.maxLenEvents` each time it opens a queue, and 0 is a length to it.
  redis.call('HSET', meta, 'events', events)
end
if not is_known then redis.call('SET', counter, 0) end
return 1
