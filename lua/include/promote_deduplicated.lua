-- Called when the owner of a deduplication ends: adds the job that was kept until then, if there is one, as the next owner. Returns
-- whether it did. `now_text` is the time as text. `queue` has what enqueue needs, delayed, marker, jobs, emit.
local function promote_deduplicated(queue, deduplication, now_text)
  local next_key = queue.jobs .. 'dn:' .. deduplication
  -- pcall: a foreign key must not keep the owner from ending.
  local kept = redis.pcall('HMGET', next_key, 'name', 'data', 'opts', 'jid')
  if kept.err or not (kept[1] and kept[4]) then return false end
  local id = kept[4]
  if redis.call('EXISTS', queue.jobs .. id) == 1 then
    redis.call('DEL', next_key)
    queue.emit('duplicated', 'jobId', id)
    return false
  end
  -- Options by any producer; not a payload.
  local readable, opts = pcall(cjson.decode, kept[3] or '{}')
  if not readable or type(opts) ~= 'table' then opts = {} end
  local delay, priority = math.max(0, tonumber(opts.delay) or 0), math.max(0, tonumber(opts.priority) or 0)
  -- The place before the hash: after an abort in between this can run again, and a claim drops an id without a hash.
  local due = tonumber(now_text) + delay
  if delay > 0 then
    redis.call('ZADD', queue.delayed, string.format('%.0f', due * 4096), id)
    local first = redis.call('ZRANGE', queue.delayed, 0, 0, 'WITHSCORES')
    redis.call('ZADD', queue.marker, first[2] / 4096, '1')
  else
    enqueue(queue, { id }, { priority }, opts.lifo == true and priority == 0)
    if not queue.paused_list then redis.call('ZADD', queue.marker, 0, '0') end
  end
  redis.call('HSET', queue.jobs .. id, 'name', kept[1], 'data', kept[2] or '{}', 'opts', kept[3] or '{}', 'timestamp', now_text,
    'delay', string.format('%.0f', delay), 'priority', string.format('%.0f', priority), 'deid', deduplication)
  redis.call('SET', queue.jobs .. 'de:' .. deduplication, id)
  redis.call('DEL', next_key)
  queue.emit('added', 'jobId', id, 'name', kept[1])
  if delay > 0 then
    queue.emit('delayed', 'jobId', id, 'delay', string.format('%.0f', due))
  else
    queue.emit('waiting', 'jobId', id)
  end
  return true
end

-- Ends the deduplication of a job that ends, unless the deduplication has a time to live that still runs, or another owner.
local function end_deduplication(queue, deduplication, id, now_text)
  local owner_key = queue.jobs .. 'de:' .. deduplication
  local left = redis.call('PTTL', owner_key)
  if left == 0 or (left == -1 and redis.pcall('GET', owner_key) == id and not promote_deduplicated(queue, deduplication, now_text)) then
    redis.call('DEL', owner_key)
  end
end
