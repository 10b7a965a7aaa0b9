-- Slots of a row of a new job of a flow; the header of add_flow describes them.
local FLOW_SLOTS = 13

-- Reads and checks rows of new jobs, which may be each other's children, a parent before its children. Returns the plan for insert_flow;
-- or nil, the number of a row from 0, and a code: 5 its parent does not exist, 6 a job of its id exists and is the child of another.
-- A plan has for each row: queue; exists, whether a job of its id does; links, the keys of the parents that get it as a new child.
local function plan_flow(flow, rows, first)
  local plan, queues, lists, keys = { queues = {}, first = first }, {}, {}, {}
  local new, parents, dependencies = {}, {}, {}
  for i = first, #rows, FLOW_SLOTS do
    local prefix, id, parent, also = rows[i], rows[i + 1], rows[i + 9], rows[i + 11]
    local queue = queues[prefix]
    if not queue then
      queue = flow.queue_of(prefix .. 'id')
      if not queue then error('a structure of a queue is not of its type') end
      queues[prefix] = queue
      if not tonumber(redis.call('GET', prefix .. 'id') or 0) then error('a counter of the queue is not a number') end
      redis.call('ZCARD', prefix .. 'completed')
      queue.count, queue.front, queue.back, queue.priorities, queue.scores, queue.waits, queue.last = 0, {}, {}, {}, {}, {}, {}
      plan.queues[#plan.queues + 1] = queue
    end
    queue.count = queue.count + 1
    -- Most rows have one parent, and share it: one table for them all.
    local links = also == '' and lists[parent]
    if not links then
      links = parent_keys(parent, also)
      if also == '' then lists[parent] = links end
      for _, key in ipairs(links) do
        if not parents[key] then
          parents[key] = true
          dependencies[#dependencies + 1] = key .. ':dependencies'
        end
      end
    end
    if id ~= '' then keys[#keys + 1] = prefix .. id end
    plan[#plan + 1] = { queue = queue, exists = false, links = links }
  end
  -- A foreign type must raise now, before the first write. As a rule none of these keys exists, which one command says.
  if #dependencies > 0 and redis.call('EXISTS', unpack(dependencies)) > 0 then
    for _, key in ipairs(dependencies) do redis.call('SCARD', key) end
  end
  local any_exists = #keys > 0 and redis.call('EXISTS', unpack(keys)) > 0
  for n, planned in ipairs(plan) do
    local i = first + (n - 1) * FLOW_SLOTS
    local job, links = rows[i] .. rows[i + 1], planned.links
    for _, parent in ipairs(links) do
      if parents[parent] == true then
        if not new[parent] and redis.pcall('HEXISTS', parent, 'timestamp') ~= 1 then return nil, n - 1, 5 end
        parents[parent] = 'found'
      end
    end
    if any_exists and rows[i + 1] ~= '' and redis.call('EXISTS', job) == 1 then
      planned.exists, planned.links = true, {}
      local stored, known = redis.pcall('HMGET', job, 'parentKey', 'also'), {}
      for _, parent in ipairs(stored.err and {} or parent_keys(stored[1], stored[2])) do known[parent] = true end
      for _, parent in ipairs(links) do
        -- A job that is this parent's child already stays as it is, unless the parent is new.
        if new[parent] or not known[parent] then planned.links[#planned.links + 1] = parent end
        known[parent] = nil
      end
      for parent in pairs(#planned.links > 0 and known or {}) do
        if redis.call('EXISTS', parent) == 1 then return nil, n - 1, 6 end
      end
    else
      new[job] = true
    end
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
    local queue, links, i = planned.queue, planned.links, plan.first + (n - 1) * FLOW_SLOTS
    local prefix, id, name, data, opts, timestamp, delay, priority, lifo, parent, link, also, waits = unpack(rows, i, i + FLOW_SLOTS - 1)
    local emit = queue.emit
    queue.number = queue.number + 1
    if planned.exists then
      ids[n] = 0
      local job = prefix .. id
      local is_done = #links > 0 and redis.call('ZSCORE', prefix .. 'completed', id)
      for _, key in ipairs(links) do
        if is_done then
          redis.call('HSET', key .. ':processed', job, redis.call('HGET', job, 'returnvalue') or 'null')
          touched[#touched + 1] = key
        else
          add_child(key, job)
        end
      end
      if #links > 0 then
        redis.call('HSET', job, 'parentKey', parent, 'parent', link)
        redis.call('HDEL', job, 'also')
        if also ~= '' then redis.call('HSET', job, 'also', also) end
      end
      emit('duplicated', 'jobId', id)
    else
      if id == '' then id = string.format('%d', queue.number) end
      if timestamp == '' then timestamp = now_text end
      local job = prefix .. id
      ids[n] = id
      if parent ~= '' then
        redis.call('HSET', job, 'name', name, 'data', data, 'opts', opts, 'timestamp', timestamp, 'delay', delay, 'priority', priority,
          'parentKey', parent, 'parent', link)
        if also ~= '' then redis.call('HSET', job, 'also', also) end
        for _, key in ipairs(links) do add_child(key, job) end
      else
        redis.call('HSET', job, 'name', name, 'data', data, 'opts', opts, 'timestamp', timestamp, 'delay', delay, 'priority', priority)
      end
      emit('added', 'jobId', id, 'name', name)
      if waits == '1' then
        queue.waits[#queue.waits + 1] = timestamp
        queue.waits[#queue.waits + 1] = id
        emit('waiting-children', 'jobId', id)
      elseif delay ~= '0' then
        local due = timestamp + delay
        queue.scores[#queue.scores + 1] = due_score(queue.delayed, due, queue.last)
        queue.scores[#queue.scores + 1] = id
        emit('delayed', 'jobId', id, 'delay', string.format('%.0f', due))
      else
        if lifo == '1' and priority == '0' then
          queue.front[#queue.front + 1] = id
        else
          queue.back[#queue.back + 1] = id
          queue.priorities[#queue.back] = priority
        end
        emit('waiting', 'jobId', id)
      end
    end
  end
  for _, queue in ipairs(plan.queues) do
    if #queue.waits > 0 then redis.call('ZADD', queue.waiting_children, unpack(queue.waits)) end
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
