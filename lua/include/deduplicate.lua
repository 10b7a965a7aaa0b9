-- What becomes of a new job that has a deduplication. Returns the id of the job that stands for it; nil where it is to be
-- added, and owns the deduplication from now on. `wanted` is BullMQ's `de` of the job's options; `new` says of the job: id,
-- name, data, opts, delay (text) and due (ms). `k` names the keys: active delayed marker jobs tell, and `now` in ms.
local function deduplicate(k, wanted, new, last)
  local window, follower = k.jobs .. 'de:' .. wanted.id, k.jobs .. 'dn:' .. wanted.id
  local owner, left = redis.call('GET', window), redis.call('PTTL', window)
  -- What waits for the owner's end must find the owner there.
  local ttl = wanted.ttl and not wanted.keepLastIfActive and string.format('%.0f', wanted.ttl)
  -- A window without an end whose owner is gone would stand for a dead job for ever.
  if not owner or (left == -1 and redis.pcall('HEXISTS', k.jobs .. owner, 'timestamp') ~= 1) then
    if ttl then redis.call('SET', window, new.id, 'PX', ttl) else redis.call('SET', window, new.id) end
    redis.call('DEL', follower)
    return nil
  end

  local function say(id, other)
    -- BullMQ 5 listens to the first, from 5.63 on to the second too, BullMQ 6 to the second alone.
    k.emit('debounced', 'jobId', id, 'debounceId', wanted.id)
    k.emit('deduplicated', 'jobId', id, 'deduplicationId', wanted.id, 'deduplicatedJobId', other)
  end
  local is_delayed = redis.call('ZSCORE', k.delayed, owner)
  if wanted.replace then
    -- Silent, as in BullMQ. The pending run of a schedule stays too: its end would be the end of the schedule.
    if not is_delayed or string.sub(owner, 1, 7) == 'repeat:' then return owner end
    if not ttl then
      redis.call('SET', window, new.id)
    elseif wanted.extend then
      redis.call('SET', window, new.id, 'PX', ttl)
    else
      redis.call('SET', window, new.id, 'KEEPTTL')
    end
    remove_jobs(k.jobs, { owner }, release_parents(k.now))
    redis.call('ZREM', k.delayed, owner)
    k.emit('removed', 'jobId', owner, 'prev', 'delayed')
    say(new.id, owner)
    return nil
  end

  if wanted.extend and ttl then redis.call('SET', window, owner, 'PX', ttl) end
  say(owner, new.id)
  if wanted.keepLastIfActive then
    local runs = redis.call('EXISTS', k.jobs .. owner .. ':lock') == 1
    if not runs and not is_delayed then
      -- Of a job without a lock the list alone can say whether its worker is dead; one that was never claimed is not there.
      local job = redis.call('HMGET', k.jobs .. owner, 'ats', 'finishedOn')
      runs = job[1] and not job[2] and redis.call('LPOS', k.active, owner)
    end
    -- Between two attempts the owner does not run, and yet what follows is to be the latest.
    if runs or redis.call('EXISTS', follower) == 1 then
      redis.call('DEL', follower)
      redis.call('HSET', follower, 'name', new.name, 'data', new.data, 'opts', new.opts, 'jid', new.id)
      redis.call('PERSIST', window)
    end
  elseif wanted.reschedule and is_delayed then
    redis.call('HSET', k.jobs .. owner, 'delay', new.delay)
    redis.call('ZADD', k.delayed, due_score(k.delayed, new.due, last), owner)
    k.emit('delayed', 'jobId', owner, 'delay', new.due)
    mark_due(k.delayed, k.marker)
  end
  return owner
end
