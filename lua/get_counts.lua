--[[
get_counts: say how many jobs are in each structure.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  wait              list    ids without a priority
  paused            list    the same while the queue is paused
  active            list    ids being run
  prioritized       zset    ids by priority
  delayed           zset    ids by due time
  waiting_children  zset    parents whose children are not all done
  completed         zset    ids by finish time, ms
  failed            zset    ids by finish time, ms
ARGV
  now               int     ms, or empty for the server's time
RETURNS
  how many are in each, in the order of the keys
]]
local answer = {}
for i, key in ipairs(KEYS) do answer[i] = redis.call(i <= 3 and 'LLEN' or 'ZCARD', key) end
return answer
