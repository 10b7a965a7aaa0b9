--[[
count_dead_letters: count the open dead letters by type, error, tenant or day.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  by           str     type, error, tenant or day
  most         int     groups to return: the largest, or the newest days
RETURNS
  names and counts in turn; a day is its number since 1970, UTC
]]
local jobs = unpack(KEYS)
local _, by, most = unpack(ARGV)
most = tonumber(most)

if by ~= 'day' then return redis.call('ZREVRANGE', jobs .. 'corral:dead:' .. by .. 's', 0, most - 1, 'WITHSCORES') end
local open, day_ms, days = jobs .. 'corral:dead:open', 86400000, {}
-- From one day with letters to the next, so that days without letters cost nothing.
local newest = redis.call('ZRANGE', open, 0, 0, 'REV', 'WITHSCORES')
while newest[2] and #days < 2 * most do
  local day = math.floor(newest[2] / day_ms)
  local from = string.format('%.0f', day * day_ms)
  days[#days + 1] = string.format('%d', day)
  days[#days + 1] = redis.call('ZCOUNT', open, from, string.format('(%.0f', (day + 1) * day_ms))
  newest = redis.call('ZREVRANGEBYSCORE', open, '(' .. from, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
end
return days
