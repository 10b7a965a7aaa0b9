-- Offsets in a row of a new job of a flow; the header of add_flow describes them. Each row has `slots` of them.
local FLOW_ROW = { slots = 13, queue = 0, id = 1, name = 2, data = 3, opts = 4, timestamp = 5, delay = 6, priority = 7, lifo = 8,
  parent = 9, link = 10, also = 11, waits = 12 }

-- Reads and checks rows of new jobs, which may be each other's children, a parent before its children. Returns the plan for insert_flow;
-- or nil, the number of a row from 0, and a code: 5 its parent does not exist, 6 a job of its id exists and is the child of another.
local function plan_flow(flow, rows, first)
  local plan, new, queues, existing = { queues = {} }, {}, {}, {}
  for i = first, #rows, FLOW_ROW.slots do
    local prefix, id = rows[i], rows[i + FLOW_ROW.id]
    local job = prefix .. id
    local queue = queues[prefix]
    if not queue then
      queue = flow.queue_of(prefix .. 'id')
      if not queue then error('a structure of a queue is not of its type') end
      queues[prefix] = queue
      if not tonumber(redis.call('GET', queue.jobs .. 'id') or 0) then error('a counter of the queue is not a number') end
      redis.call('HGET', queue.jobs .. 'meta', 'paused')
      redis.call('ZCARD', queue.jobs .. 'completed')
      queue.count, queue.front, queue.back, queue.priorities, queue.scores, queue.last = 0, {}, {}, {}, {}, {}
      plan.queues[#plan.queues + 1] = queue
    end
    queue.count = queue.count + 1
    local exists = id ~= '' and redis.call('EXISTS', job) == 1
    local known = {}
    if exists then
      local stored = redis.pcall('HMGET', job, 'parentKey', 'also')
      for _, parent in ipairs(stored.err and {} or parent_keys(stored[1], stored[2])) do known[parent] = true end
    end
    local planned = { queue = queue, at = i, job = job, exists = exists, links = {} }
    for _, parent in ipairs(parent_keys(rows[i + FLOW_ROW.parent], rows[i + FLOW_ROW.also])) do
      if not existing[parent] then
        if not new[parent] and redis.pcall('HEXISTS', parent, 'timestamp') ~= 1 then return nil, (i - first) / FLOW_ROW.slots, 5 end
        -- A foreign type must raise now, before the first write.
        redis.call('SCARD', parent .. ':dependencies')
        existing[parent] = true
      end
      -- A job that is this parent's child already stays as it is, unless the parent is new.
      if new[parent] or not known[parent] then planned.links[#planned.links + 1] = parent end
      known[parent] = nil
    end
    for parent in pairs(#planned.links > 0 and known or {}) do
      if redis.call('EXISTS', parent) == 1 then return nil, (i - first) / FLOW_ROW.slots, 6 end
    end
    if not exists then new[job] = true end
    plan[#plan + 1] = planned
  end
  return plan
end

-- Writes the plan. Returns for each row the id of its job, or 0 where a job of that id existed.
local function insert_flow(flow, rows, plan, now)
  local now_text, ids, touched, open = string.format('%d', now), {}, {}, {}
  for _, queue in ipairs(plan.queues) do
    queue.number = redis.call('INCRBY', queue.jobs .. 'id', queue.count) - queue.count
    -- By this field tools find a queue, BullMQ's among them.
    redis.call('HSETNX', queue.jobs .. 'meta', 'opts.maxLenEvents', '10000')
  end
  local function add_child(parent, job)
    local children = open[parent]
    if children then children[#children + 1] = job else open[parent] = { job } end
  end
  for n, planned in ipairs(plan) do
    local queue, i, job = planned.queue, planned.at, planned.job
    local id, name, priority, delay = rows[i + FLOW_ROW.id], rows[i + FLOW_ROW.name], rows[i + FLOW_ROW.priority], rows[i + FLOW_ROW.delay]
    local first_parent, also, link = rows[i + FLOW_ROW.parent], rows[i + FLOW_ROW.also], rows[i + FLOW_ROW.link]
    queue.number = queue.number + 1
    if planned.exists then
      ids[n] = 0
      local is_done = #planned.links > 0 and redis.call('ZSCORE', queue.jobs .. 'completed', id)
      for _, parent in ipairs(planned.links) do
        if is_done then
          redis.call('HSET', parent .. ':processed', job, redis.call('HGET', job, 'returnvalue') or 'null')
          touched[#touched + 1] = parent
        else
          add_child(parent, job)
        end
      end
      if #planned.links > 0 then
        redis.call('HSET', job, 'parentKey', first_parent, 'parent', link)
        redis.call('HDEL', job, 'also')
        if also ~= '' then redis.call('HSET', job, 'also', also) end
      end
      queue.emit('duplicated', 'jobId', id)
    else
      if id == '' then
        id = string.format('%d', queue.number)
        job = queue.jobs .. id
      end
      ids[n] = id
      local timestamp = rows[i + FLOW_ROW.timestamp] ~= '' and rows[i + FLOW_ROW.timestamp] or now_text
      local data, opts = rows[i + FLOW_ROW.data], rows[i + FLOW_ROW.opts]
      if first_parent ~= '' then
        redis.call('HSET', job, 'name', name, 'data', data, 'opts', opts, 'timestamp', timestamp, 'delay', delay, 'priority', priority,
          'parentKey', first_parent, 'parent', link)
        if also ~= '' then redis.call('HSET', job, 'also', also) end
        for _, parent in ipairs(planned.links) do add_child(parent, job) end
      else
        redis.call('HSET', job, 'name', name, 'data', data, 'opts', opts, 'timestamp', timestamp, 'delay', delay, 'priority', priority)
      end
      queue.emit('added', 'jobId', id, 'name', name)
      if rows[i + FLOW_ROW.waits] == '1' then
        redis.call('ZADD', queue.waiting_children, timestamp, id)
        queue.emit('waiting-children', 'jobId', id)
      elseif delay ~= '0' then
        local due = timestamp + delay
        queue.scores[#queue.scores + 1] = due_score(queue.delayed, due, queue.last)
        queue.scores[#queue.scores + 1] = id
        queue.emit('delayed', 'jobId', id, 'delay', string.format('%.0f', due))
      else
        if rows[i + FLOW_ROW.lifo] == '1' and priority == '0' then
          queue.front[#queue.front + 1] = id
        else
          queue.back[#queue.back + 1] = id
          queue.priorities[#queue.back] = priority
        end
        queue.emit('waiting', 'jobId', id)
      end
    end
  end
  -- Before a child can be claimed.
  for parent, children in pairs(open) do redis.call('SADD', parent .. ':dependencies', unpack(children)) end
  for _, queue in ipairs(plan.queues) do
    if #queue.scores > 0 then
      redis.call('ZADD', queue.delayed, unpack(queue.scores))
      mark_due(queue.delayed, queue.marker)
    end
    if #queue.front > 0 then push(queue, queue.front, true) end
    if #queue.back > 0 then enqueue(queue, queue.back, queue.priorities, false) end
    if #queue.front + #queue.back > 0 and queue.may_start then redis.call('ZADD', queue.marker, 0, '0') end
  end
  -- Only now is it known whether a parent has open children.
  for _, parent in ipairs(touched) do
    if redis.call('SCARD', parent .. ':dependencies') == 0 then flow.release(parent) end
  end
  return ids
end
