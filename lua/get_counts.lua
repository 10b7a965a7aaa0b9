--[[
get_counts: count the jobs of each structure.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  wait              list    ids without a priority
  paused            list    the same while the queue is paused
  active            list    ids of running jobs
  prioritized       zset    ids by priority
  delayed           zset    ids by due time
  waiting_children  zset    parents with open children
  completed         zset    ids by finish time, ms
  failed            zset    ids by finish time, ms
ARGV
  now               int     ms, or empty for the server's time
RETURNS
  the counts, in the order of the keys
]]
local answer = {}
for i, key in ipairs(KEYS) do answer[i] = redis.call(i <= 3 and 'LLEN' or 'ZCARD', key) end
return answer
