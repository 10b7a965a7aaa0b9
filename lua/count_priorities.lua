--[[
count_priorities: count the waiting jobs of each priority.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  prioritized  zset    ids by priority
ARGV
  now          int     ms, or empty for the server's time
ROWS
  priority     int     to count; at most 250; without rows, the first 250 that have jobs
RETURNS
  priorities and counts in turn
]]
local wait, paused, prioritized = unpack(KEYS)

local base = 4294967296
local answer = {}
local function count(priority)
  answer[#answer + 1] = priority
  if priority == 0 then
    answer[#answer + 1] = redis.call('LLEN', wait) + redis.call('LLEN', paused)
  else
    answer[#answer + 1] = redis.call('ZCOUNT', prioritized, string.format('%.0f', priority * base),
      '(' .. string.format('%.0f', (priority + 1) * base))
  end
end
if #ARGV > 1 then
  for i = 2, #ARGV do count(tonumber(ARGV[i])) end
  return answer
end
if redis.call('LLEN', wait) + redis.call('LLEN', paused) > 0 then count(0) end
-- From one priority to the next that has jobs, so that the number of jobs does not matter.
local from = base
while #answer < 500 do
  local first = redis.call('ZRANGEBYSCORE', prioritized, string.format('%.0f', from), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if not first[2] then break end
  local priority = math.floor(first[2] / base)
  count(priority)
  from = (priority + 1) * base
end
return answer
