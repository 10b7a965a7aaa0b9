--[[
check_dead_letters: say once that there are more open dead letters than a threshold.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  threshold    int     letters that are nothing to speak of
RETURNS
  how many there are, if they have come to be more than that since the last call that said so, or that found no more; else -1
  Sent again it answers -1: of all who watch one threshold one is told. A reply that is lost is an alert that is lost.
]]
local jobs = unpack(KEYS)
local threshold = ARGV[2]
local open, told = jobs .. 'corral:dead:open', jobs .. 'corral:dead:alerts'
local count = redis.call('ZCARD', open)
local was_told = redis.call('HEXISTS', told, threshold) == 1
if count > tonumber(threshold) then
  if was_told then return -1 end
  redis.call('HSET', told, threshold, count)
  return count
end
if was_told then redis.call('HDEL', told, threshold) end
return -1
