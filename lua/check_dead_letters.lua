--[[
check_dead_letters: report once that there are more open dead letters than a threshold.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  threshold    int     most letters without an alert
RETURNS
  how many there are, if they exceed the threshold and no call has reported it since they last did not; else -1
  Sent again it answers -1: of all callers with one threshold a single one gets the number. A lost reply is a lost alert.
]]
local jobs = unpack(KEYS)
local threshold = ARGV[2]
local open, alerts = jobs .. 'corral:dead:open', jobs .. 'corral:dead:alerts'
local count = redis.call('ZCARD', open)
local was_reported = redis.call('HEXISTS', alerts, threshold) == 1
if count > tonumber(threshold) then
  if was_reported then return -1 end
  redis.call('HSET', alerts, threshold, count)
  return count
end
if was_reported then redis.call('HDEL', alerts, threshold) end
return -1
