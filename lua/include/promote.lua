-- Put the delayed jobs that are due in line, at most 250. Returns how many, and ms until the next is due (-1: none is).
-- `k` names the keys: delayed wait aside prioritized pc marker events jobs; `wake` says whether a claim could succeed.
local function promote(k, now, wake)
  local first = redis.call('ZRANGE', k.delayed, 0, 0, 'WITHSCORES')
  if not first[1] then return 0, -1 end
  local due = math.floor(first[2] / 4096)
  if due > now then return 0, due - now end
  local ids = redis.call('ZRANGEBYSCORE', k.delayed, '-inf', string.format('%.0f', (now + 1) * 4096 - 1), 'LIMIT', 0, 1000)
  local priorities, delays = {}, {}
  for i, id in ipairs(ids) do
    -- pcall: a foreign key where a job should be must not hold up the others; a claim drops the id.
    local job = redis.pcall('HMGET', k.jobs .. id, 'priority', 'delay')
    priorities[i], delays[i] = job[1] or 0, job[2] or false
  end
  enqueue(k, ids, priorities, false)
  for i, id in ipairs(ids) do
    k.emit('waiting', 'jobId', id, 'prev', 'delayed')
    -- Only where the field is: writing it would make a ghost of a job that was deleted.
    if delays[i] then redis.call('HSET', k.jobs .. id, 'delay', 0) end
  end
  redis.call('ZREM', k.delayed, unpack(ids))
  if wake then redis.call('ZADD', k.marker, 0, '0') end
  first = redis.call('ZRANGE', k.delayed, 0, 0, 'WITHSCORES')
  if not first[1] then return #ids, -1 end
  return #ids, math.max(0, math.floor(first[2] / 4096) - now)
end
