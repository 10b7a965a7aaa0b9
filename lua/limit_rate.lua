--[[
limit_rate: limit how many jobs of the queue start in a time; or remove the limit.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  limiter      counter of the jobs that started in the window of a rate limit
  smoothed     str     time up to which starts have used a smoothed rate limit, us
  marker       zset    wakes idle workers
ARGV
  now          int     ms, or empty for the server's time
  max          int     starts; empty removes the limit, its current window, and a hold that a job asked for
  duration     int     ms of a window
  smooth       int     1: starts are spread evenly, 0: they are not
RETURNS
  1 if something was limited before, else 0
  Sent again it does the same again.
]]
local meta, wait, active, prioritized, limiter, smoothed, marker = unpack(KEYS)
local _, max, duration, smooth = unpack(ARGV)

--@include read_limits

local is_paused, room, _, _, limits = read_limits(meta, active)
local waiting = redis.call('LLEN', wait) + redis.call('ZCARD', prioritized)
redis.call('LLEN', active)
redis.call('ZCARD', marker)

if max == '' then
  redis.call('DEL', limiter, smoothed)
  redis.call('HDEL', meta, 'max', 'duration', 'smooth', 'hold')
else
  local started, left = redis.call('GET', limiter), redis.call('PTTL', limiter)
  if not tonumber(started or 0) or not tonumber(redis.call('GET', smoothed) or 0) then
    error('a counter of the rate limit is not a number')
  end
  redis.call('HSET', meta, 'max', max, 'duration', duration)
  if smooth == '1' then
    redis.call('HSET', meta, 'smooth', 1)
  else
    redis.call('HDEL', meta, 'smooth')
    redis.call('DEL', smoothed)
  end
  -- The current window must not outlast one of the new duration. The special value is a hold, not a window.
  if left > tonumber(duration) and started ~= '9007199254740991' then redis.call('PEXPIRE', limiter, duration) end
end
if not is_paused and room > 0 and waiting > 0 then redis.call('ZADD', marker, 0, '0') end
return limits and 1 or 0
