--[[
limit_concurrency: limit how many jobs of the queue run at once, on all workers together; or remove the limit.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  marker       zset    wakes idle workers
ARGV
  now          int     ms, or empty for the server's time
  concurrency  int     jobs; empty: no limit
RETURNS
  1 if it was limited before, else 0
  Sent again it does the same again.
]]
local meta, wait, active, prioritized, marker = unpack(KEYS)
local concurrency = ARGV[2]

--@include read_limits

local was = redis.call('HEXISTS', meta, 'concurrency')
local waiting = redis.call('LLEN', wait) + redis.call('ZCARD', prioritized)
redis.call('LLEN', active)
redis.call('ZCARD', marker)

if concurrency == '' then
  redis.call('HDEL', meta, 'concurrency')
else
  redis.call('HSET', meta, 'concurrency', concurrency)
end
local is_paused, room = read_limits(meta, active)
if not is_paused and room > 0 and waiting > 0 then redis.call('ZADD', marker, 0, '0') end
return was
