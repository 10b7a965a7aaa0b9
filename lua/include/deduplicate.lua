-- Decides what becomes of a new job that has a deduplication. Returns the id of the job that is kept instead of it; nil where the job is
-- to be added, and owns the deduplication from now on. `wanted` is the option `de` as BullMQ writes it; `new` has of the job: id, name,
-- data, opts, delay (text) and due (ms). `last` as in due_score. `queue` has active, delayed, marker, jobs, emit, and now (ms).
local function deduplicate(queue, wanted, new, last)
  local owner_key, next_key = queue.jobs .. 'de:' .. wanted.id, queue.jobs .. 'dn:' .. wanted.id
  local owner, left = redis.call('GET', owner_key), redis.call('PTTL', owner_key)
  -- A job that is kept until the owner ends needs the owner's key to exist then.
  local ttl = wanted.ttl and not wanted.keepLastIfActive and string.format('%.0f', wanted.ttl)
  -- Without a time to live, the key of an owner that was deleted would block new jobs forever.
  if not owner or (left == -1 and redis.pcall('HEXISTS', queue.jobs .. owner, 'timestamp') ~= 1) then
    if ttl then redis.call('SET', owner_key, new.id, 'PX', ttl) else redis.call('SET', owner_key, new.id) end
    redis.call('DEL', next_key)
    return nil
  end

  local function emit_deduplicated(id, other)
    -- BullMQ 5 reads `debounced`, from 5.63 on also `deduplicated`; BullMQ 6 reads only `deduplicated`.
    queue.emit('debounced', 'jobId', id, 'debounceId', wanted.id)
    queue.emit('deduplicated', 'jobId', id, 'deduplicationId', wanted.id, 'deduplicatedJobId', other)
  end
  local is_delayed = redis.call('ZSCORE', queue.delayed, owner)
  if wanted.replace then
    -- No event, as in BullMQ. The pending run of a schedule is not replaced: the schedule would end without it.
    if not is_delayed or string.sub(owner, 1, 7) == 'repeat:' then return owner end
    if not ttl then
      redis.call('SET', owner_key, new.id)
    elseif wanted.extend then
      redis.call('SET', owner_key, new.id, 'PX', ttl)
    else
      redis.call('SET', owner_key, new.id, 'KEEPTTL')
    end
    remove_jobs(queue.jobs, { owner }, release_parents(queue.now))
    redis.call('ZREM', queue.delayed, owner)
    queue.emit('removed', 'jobId', owner, 'prev', 'delayed')
    emit_deduplicated(new.id, owner)
    return nil
  end

  if wanted.extend and ttl then redis.call('SET', owner_key, owner, 'PX', ttl) end
  emit_deduplicated(owner, new.id)
  if wanted.keepLastIfActive then
    local runs = redis.call('EXISTS', queue.jobs .. owner .. ':lock') == 1
    if not runs and not is_delayed then
      -- A job without a lock whose worker died is still in the list; one that was never claimed is not.
      local job = redis.call('HMGET', queue.jobs .. owner, 'ats', 'finishedOn')
      runs = job[1] and not job[2] and redis.call('LPOS', queue.active, owner)
    end
    -- Between two attempts the owner does not run; a job that is kept already is replaced by the latest.
    if runs or redis.call('EXISTS', next_key) == 1 then
      redis.call('DEL', next_key)
      redis.call('HSET', next_key, 'name', new.name, 'data', new.data, 'opts', new.opts, 'jid', new.id)
      redis.call('PERSIST', owner_key)
    end
  elseif wanted.reschedule and is_delayed then
    redis.call('HSET', queue.jobs .. owner, 'delay', new.delay)
    redis.call('ZADD', queue.delayed, due_score(queue.delayed, new.due, last), owner)
    queue.emit('delayed', 'jobId', owner, 'delay', new.due)
    mark_due(queue.delayed, queue.marker)
  end
  return owner
end
