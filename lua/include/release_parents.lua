-- Returns functions about the parents of jobs that end or are removed, in any queue of the flow. `now` is the time in ms.
-- They take the keys of a child and of a parent, or `first` and `also` (see parent_keys) for all its parents, and write nothing where a
-- parent does not exist or does not wait for that child. A parent is left alone if its queue has a structure of a foreign type: the
-- child must not fail because of another queue.
local function release_parents(now)
  local queues = {}

  -- The queue of a job, checked once, and the job's id; false where the queue cannot be used.
  local function queue_of(job)
    local jobs, id = string.match(job, '^(.*:)([^:]+)$')
    if not jobs then return false end
    if queues[jobs] == nil then
      local queue = { jobs = jobs, wait = jobs .. 'wait', prioritized = jobs .. 'prioritized', pc = jobs .. 'pc', delayed = jobs .. 'delayed',
        marker = jobs .. 'marker', waiting_children = jobs .. 'waiting-children' }
      local is_sound = pcall(function()
        local is_paused, room, max_events, mode = read_limits(jobs .. 'meta', jobs .. 'active')
        queue.paused_list = is_paused and jobs .. 'paused'
        queue.may_start = not is_paused and room > 0
        queue.emit = emitter(jobs .. 'events', max_events, mode)
        check_types(jobs .. 'events', { queue.wait, queue.paused_list or nil },
          { queue.prioritized, queue.delayed, queue.waiting_children }, queue.marker, {}, { queue.pc })
      end)
      queues[jobs] = is_sound and queue
    end
    return queues[jobs], id
  end

  -- Moves a parent from the set `prev` to the front of the waiting jobs: its work began long ago. One with a priority goes behind its
  -- equals, as in BullMQ.
  local function enqueue_parent(queue, id, priority, prev)
    enqueue(queue, { id }, { priority }, (tonumber(priority) or 0) == 0)
    redis.call('ZREM', queue.jobs .. prev, id)
    queue.emit('waiting', 'jobId', id, 'prev', prev)
    if queue.may_start then redis.call('ZADD', queue.marker, 0, '0') end
  end

  -- Lets a parent that waits for children run, after its delay if it has one.
  local function release(parent)
    local queue, id = queue_of(parent)
    if not queue or not redis.call('ZSCORE', queue.waiting_children, id) then return end
    local stored = redis.pcall('HMGET', parent, 'priority', 'delay')
    if stored.err then return end
    local delay = tonumber(stored[2]) or 0
    if delay > 0 then
      redis.call('ZADD', queue.delayed, due_score(queue.delayed, now + delay, {}), id)
      redis.call('ZREM', queue.waiting_children, id)
      queue.emit('delayed', 'jobId', id, 'delay', string.format('%.0f', now + delay))
      mark_due(queue.delayed, queue.marker)
    else
      enqueue_parent(queue, id, stored[1], 'waiting-children')
    end
  end

  local function waits_for(child, parent)
    return redis.pcall('SISMEMBER', parent .. ':dependencies', child) == 1 and redis.pcall('HEXISTS', parent, 'timestamp') == 1
  end

  -- Takes a child out of its parent's open children; the last one releases the parent.
  local function remove_child(child, parent)
    if redis.call('SCARD', parent .. ':dependencies') == 1 then release(parent) end
    redis.call('SREM', parent .. ':dependencies', child)
  end

  -- A child was completed with this value (JSON).
  local function completed(child, first, also, value)
    for _, parent in ipairs(parent_keys(first, also)) do
      if waits_for(child, parent) then
        redis.pcall('HSET', parent .. ':processed', child, value)
        remove_child(child, parent)
      end
    end
  end

  -- A child is deleted before it ended. `is_deleted(parent)`: whether that parent is deleted too, and must not be released.
  local function unlink(child, first, also, is_deleted)
    for _, parent in ipairs(parent_keys(first, also)) do
      if waits_for(child, parent) and not (is_deleted and is_deleted(parent)) then remove_child(child, parent) end
    end
  end

  return { queue_of = queue_of, enqueue_parent = enqueue_parent, release = release, waits_for = waits_for, remove_child = remove_child,
    completed = completed, unlink = unlink }
end
