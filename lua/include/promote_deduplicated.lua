-- The owner of a deduplication has ended: make the job that was kept for this moment, if there is one, the next owner.
-- Returns whether there was. `moment` is the time as text. `k` names the keys: wait prioritized pc delayed marker jobs tell, and
-- `aside` (see enqueue).
local function promote_deduplicated(k, deduplication, moment)
  local follower = k.jobs .. 'dn:' .. deduplication
  -- pcall: the end of one job must not hang on a foreign key.
  local kept = redis.pcall('HMGET', follower, 'name', 'data', 'opts', 'jid')
  if kept.err or not (kept[1] and kept[4]) then return false end
  local id = kept[4]
  if redis.call('EXISTS', k.jobs .. id) == 1 then
    redis.call('DEL', follower)
    k.emit('duplicated', 'jobId', id)
    return false
  end
  -- Options, which any producer may have written, and no payload.
  local readable, opts = pcall(cjson.decode, kept[3] or '{}')
  if not readable or type(opts) ~= 'table' then opts = {} end
  local delay, priority = math.max(0, tonumber(opts.delay) or 0), math.max(0, tonumber(opts.priority) or 0)
  -- The place before the hash: broken off in between, this can be done again, and an id without a hash is dropped by a claim.
  local due = tonumber(moment) + delay
  if delay > 0 then
    redis.call('ZADD', k.delayed, string.format('%.0f', due * 4096), id)
    local first = redis.call('ZRANGE', k.delayed, 0, 0, 'WITHSCORES')
    redis.call('ZADD', k.marker, first[2] / 4096, '1')
  else
    enqueue(k, { id }, { priority }, opts.lifo == true and priority == 0)
    if not k.aside then redis.call('ZADD', k.marker, 0, '0') end
  end
  redis.call('HSET', k.jobs .. id, 'name', kept[1], 'data', kept[2] or '{}', 'opts', kept[3] or '{}', 'timestamp', moment,
    'delay', string.format('%.0f', delay), 'priority', string.format('%.0f', priority), 'deid', deduplication)
  redis.call('SET', k.jobs .. 'de:' .. deduplication, id)
  redis.call('DEL', follower)
  k.emit('added', 'jobId', id, 'name', kept[1])
  if delay > 0 then
    k.emit('delayed', 'jobId', id, 'delay', string.format('%.0f', due))
  else
    k.emit('waiting', 'jobId', id)
  end
  return true
end
