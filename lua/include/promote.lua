-- Enqueues the delayed jobs that are due, at most 250: one takes 3 to 4 us. Returns how many, and ms until the next is due (-1: no delayed job).
-- `may_start`: a claim could succeed, so an idle worker is woken. `queue` has what enqueue needs, delayed, marker, jobs, emit.
local function promote(queue, now, may_start)
  local first = redis.call('ZRANGE', queue.delayed, '0', '0', 'WITHSCORES')
  if not first[1] then return 0, -1 end
  local due = math.floor(first[2] / 4096)
  if due > now then return 0, due - now end
  local ids = redis.call('ZRANGEBYSCORE', queue.delayed, '-inf', string.format('%.0f', (now + 1) * 4096 - 1), 'LIMIT', 0, 250)
  local priorities, delays = {}, {}
  for i, id in ipairs(ids) do
    -- pcall: a foreign key at the place of one job must not stop the others; a claim drops the id.
    local job = redis.pcall('HMGET', queue.jobs .. id, 'priority', 'delay')
    priorities[i], delays[i] = job[1] or 0, job[2] or false
  end
  enqueue(queue, ids, priorities, false)
  for i, id in ipairs(ids) do
    queue.emit('waiting', 'jobId', id, 'prev', 'delayed')
    -- Only where the field exists: writing it to a deleted job would create a hash.
    if delays[i] then redis.call('HSET', queue.jobs .. id, 'delay', 0) end
  end
  redis.call('ZREM', queue.delayed, unpack(ids))
  if may_start then redis.call('ZADD', queue.marker, 0, '0') end
  first = redis.call('ZRANGE', queue.delayed, '0', '0', 'WITHSCORES')
  if not first[1] then return #ids, -1 end
  return #ids, math.max(0, math.floor(first[2] / 4096) - now)
end
