--[[
get_metrics: return how many jobs finished in each of the last minutes, if workers count them.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  jobs         prefix  of the queue's keys; the script appends metrics:<kind> and metrics:<kind>:data
ARGV
  now          int     ms, or empty for the server's time
  kind         str     completed or failed
  start        int     first minute returned, 0 for the newest
  end          int     last minute returned, from the end if negative
RETURNS
  total of counted jobs; time when the newest minute was closed, ms, or empty; total at that time; minutes kept; the counts
]]
local jobs = unpack(KEYS)
local _, kind, first, last = unpack(ARGV)

local key = jobs .. 'metrics:' .. kind
local stored = redis.call('HMGET', key, 'count', 'prevTS', 'prevCount')
return { stored[1] or '0', stored[2] or '', stored[3] or '0', redis.call('LLEN', key .. ':data'), redis.call('LRANGE', key .. ':data', first, last) }
