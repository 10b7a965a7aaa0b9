-- The parents of jobs that end or go, in whichever queues they stand. `now` is the time in ms. Each function takes the keys of a
-- child and of a parent, or what names all its parents (see parents), and writes nothing where a parent is gone or does not wait
-- for that child. A parent whose queue has a structure of a foreign type is let be: a child must not suffer for another queue.
local function release_parents(now)
  local queues = {}

  -- The queue of a job, looked at once, and the job's id; false where it cannot be worked on.
  local function queue_of(job)
    local jobs, id = string.match(job, '^(.*:)([^:]+)$')
    if not jobs then return false end
    if queues[jobs] == nil then
      local q = { jobs = jobs, wait = jobs .. 'wait', prioritized = jobs .. 'prioritized', pc = jobs .. 'pc', delayed = jobs .. 'delayed',
        marker = jobs .. 'marker', waiting_children = jobs .. 'waiting-children' }
      local ok = pcall(function()
        local is_paused, room, kept = read_limits(jobs .. 'meta', jobs .. 'active')
        q.aside = is_paused and jobs .. 'paused'
        q.open = not is_paused and room > 0
        q.tell = emitter(jobs .. 'events', kept)
        check_types(jobs .. 'events', { q.wait, q.aside or nil }, { q.prioritized, q.delayed, q.waiting_children }, q.marker, {}, { q.pc })
      end)
      queues[jobs] = ok and q
    end
    return queues[jobs], id
  end

  -- Out of the set `prev`, in front of those that wait: it is work begun long ago. Among those of a priority it has no such right, as in BullMQ.
  local function line_up(q, id, priority, prev)
    enqueue(q, { id }, { priority }, (tonumber(priority) or 0) == 0)
    redis.call('ZREM', q.jobs .. prev, id)
    q.tell('waiting', 'jobId', id, 'prev', prev)
    if q.open then redis.call('ZADD', q.marker, 0, '0') end
  end

  -- Let a parent run if it waits for children.
  local function release(parent)
    local q, id = queue_of(parent)
    if not q or not redis.call('ZSCORE', q.waiting_children, id) then return end
    local said = redis.pcall('HMGET', parent, 'priority', 'delay')
    if said.err then return end
    local delay = tonumber(said[2]) or 0
    if delay > 0 then
      redis.call('ZADD', q.delayed, due_score(q.delayed, now + delay, {}), id)
      redis.call('ZREM', q.waiting_children, id)
      q.tell('delayed', 'jobId', id, 'delay', string.format('%.0f', now + delay))
      mark_due(q.delayed, q.marker)
    else
      line_up(q, id, said[1], 'waiting-children')
    end
  end

  local function waits_for(child, parent)
    return redis.pcall('SISMEMBER', parent .. ':dependencies', child) == 1 and redis.pcall('HEXISTS', parent, 'timestamp') == 1
  end

  -- The parent waits no longer for this child; the last one releases it.
  local function strike(child, parent)
    if redis.call('SCARD', parent .. ':dependencies') == 1 then release(parent) end
    redis.call('SREM', parent .. ':dependencies', child)
  end

  local function completed(child, first, also, value)
    for _, parent in ipairs(parents(first, also)) do
      if waits_for(child, parent) then
        redis.pcall('HSET', parent .. ':processed', child, value)
        strike(child, parent)
      end
    end
  end

  -- A child goes without having ended. `goes(parent)` says of a parent that it goes too, and so is not to be released.
  local function unlink(child, first, also, goes)
    for _, parent in ipairs(parents(first, also)) do
      if waits_for(child, parent) and not (goes and goes(parent)) then strike(child, parent) end
    end
  end

  return { queue_of = queue_of, line_up = line_up, release = release, waits_for = waits_for, strike = strike, completed = completed,
    unlink = unlink }
end
