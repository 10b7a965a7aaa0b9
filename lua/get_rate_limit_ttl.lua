--[[
get_rate_limit_ttl: return how long rate limits let no further job start.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  meta         hash    of the queue
  active       list    ids of running jobs
  limiter      counter of the jobs that started in the window of a rate limit
  smoothed     str     time up to which starts have used a smoothed rate limit, us
ARGV
  now          int     ms, or empty for the server's time
  worker_limit str     MAX,MS of a worker's own rate limit, or empty
RETURNS
  ms, 0 if one may start now
]]
local meta, active, limiter, smoothed = unpack(KEYS)
local now, worker_limit = unpack(ARGV)

--@include clock
--@include read_limits
--@include rate

local _, _, _, _, limits = read_limits(meta, active)
local limit = read_rate(meta, limiter, smoothed, limits, worker_limit, clock(now))
return limit and limit.free == 0 and limit.wait or 0
