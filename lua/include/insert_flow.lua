-- Rows of new jobs that may be each other's children, a parent before its children, each of PLANT slots: queue (the prefix of its
-- keys), id (empty for a number), name, data, opts, timestamp (empty for now), delay, priority, lifo, parent (key, empty for none),
-- link (JSON that stands in the hash as `parent`), also (keys of further parents, one a line), waits (1: has children among the rows).
local PLANT = 13

-- Reads and checks all of it. Returns the plan; or nil, the number of a row from 0, and a code: 5 its parent is not there, 6 a job
-- of its id is there already and is the child of another.
local function survey(family, rows, first)
  local plan, made, queues, there = { queues = {} }, {}, {}, {}
  for i = first, #rows, PLANT do
    local job, above = rows[i] .. rows[i + 1], parents(rows[i + 9], rows[i + 11])
    local q = queues[rows[i]]
    if not q then
      q = family.queue_of(rows[i] .. 'id')
      if not q then error('a structure of a queue is not of its type') end
      queues[rows[i]] = q
      if not tonumber(redis.call('GET', q.jobs .. 'id') or 0) then error('a counter of the queue is not a number') end
      redis.call('HGET', q.jobs .. 'meta', 'paused')
      redis.call('ZCARD', q.jobs .. 'completed')
      q.count, q.front, q.back, q.priorities, q.scores, q.last = 0, {}, {}, {}, {}, {}
      plan.queues[#plan.queues + 1] = q
    end
    q.count = q.count + 1
    local exists = rows[i + 1] ~= '' and redis.call('EXISTS', job) == 1
    local known = {}
    if exists then
      local said = redis.pcall('HMGET', job, 'parentKey', 'also')
      for _, parent in ipairs(said.err and {} or parents(said[1], said[2])) do known[parent] = true end
    end
    local one = { q = q, at = i, job = job, exists = exists, links = {} }
    for _, parent in ipairs(above) do
      if not there[parent] then
        if not made[parent] and redis.pcall('HEXISTS', parent, 'timestamp') ~= 1 then return nil, (i - first) / PLANT, 5 end
        -- A foreign type now, not midway.
        redis.call('SCARD', parent .. ':dependencies')
        there[parent] = true
      end
      -- A child of before stays as it is, but where its parent is made anew.
      if made[parent] or not known[parent] then
        one.links[#one.links + 1] = parent
      end
      known[parent] = nil
    end
    for parent in pairs(#one.links > 0 and known or {}) do
      if redis.call('EXISTS', parent) == 1 then return nil, (i - first) / PLANT, 6 end
    end
    if not exists then made[job] = true end
    plan[#plan + 1] = one
  end
  return plan
end

-- Writes it. Returns for each row its id, or 0 where a job of that id was there.
local function insert_flow(family, rows, plan, now)
  local moment, ids, touched, open = string.format('%d', now), {}, {}, {}
  for _, q in ipairs(plan.queues) do
    q.number = redis.call('INCRBY', q.jobs .. 'id', q.count) - q.count
    -- What tools look for, and BullMQ's own.
    redis.call('HSETNX', q.jobs .. 'meta', 'opts.maxLenEvents', '10000')
  end
  local function waits_for(parent, job)
    local jobs = open[parent]
    if jobs then jobs[#jobs + 1] = job else open[parent] = { job } end
  end
  local function link(one, job)
    local i = one.at
    redis.call('HSET', job, 'parentKey', rows[i + 9], 'parent', rows[i + 10])
    redis.call('HDEL', job, 'also')
    if rows[i + 11] ~= '' then redis.call('HSET', job, 'also', rows[i + 11]) end
  end
  for n, one in ipairs(plan) do
    local q, i, job = one.q, one.at, one.job
    local id, parent, priority, delay = rows[i + 1], rows[i + 9], rows[i + 7], rows[i + 6]
    q.number = q.number + 1
    if one.exists then
      ids[n] = 0
      local done = #one.links > 0 and redis.call('ZSCORE', q.jobs .. 'completed', id)
      for _, parent in ipairs(one.links) do
        if done then
          redis.call('HSET', parent .. ':processed', job, redis.call('HGET', job, 'returnvalue') or 'null')
          touched[#touched + 1] = parent
        else
          waits_for(parent, job)
        end
      end
      if #one.links > 0 then link(one, job) end
      q.tell('duplicated', 'jobId', id)
    else
      if id == '' then
        id = string.format('%d', q.number)
        job = q.jobs .. id
      end
      ids[n] = id
      local timestamp = rows[i + 5] ~= '' and rows[i + 5] or moment
      if parent ~= '' then
        redis.call('HSET', job, 'name', rows[i + 2], 'data', rows[i + 3], 'opts', rows[i + 4], 'timestamp', timestamp,
          'delay', delay, 'priority', priority, 'parentKey', parent, 'parent', rows[i + 10])
        if rows[i + 11] ~= '' then redis.call('HSET', job, 'also', rows[i + 11]) end
        for _, above in ipairs(one.links) do waits_for(above, job) end
      else
        redis.call('HSET', job, 'name', rows[i + 2], 'data', rows[i + 3], 'opts', rows[i + 4], 'timestamp', timestamp,
          'delay', delay, 'priority', priority)
      end
      q.tell('added', 'jobId', id, 'name', rows[i + 2])
      if rows[i + 12] == '1' then
        redis.call('ZADD', q.waiting_children, timestamp, id)
        q.tell('waiting-children', 'jobId', id)
      elseif delay ~= '0' then
        local due = timestamp + delay
        q.scores[#q.scores + 1] = due_score(q.delayed, due, q.last)
        q.scores[#q.scores + 1] = id
        q.tell('delayed', 'jobId', id, 'delay', string.format('%.0f', due))
      else
        if rows[i + 8] == '1' and priority == '0' then
          q.front[#q.front + 1] = id
        else
          q.back[#q.back + 1] = id
          q.priorities[#q.back] = priority
        end
        q.tell('waiting', 'jobId', id)
      end
    end
  end
  -- Before a child is in line.
  for parent, children in pairs(open) do redis.call('SADD', parent .. ':dependencies', unpack(children)) end
  for _, q in ipairs(plan.queues) do
    if #q.scores > 0 then
      redis.call('ZADD', q.delayed, unpack(q.scores))
      mark_due(q.delayed, q.marker)
    end
    if #q.front > 0 then push(q, q.front, true) end
    if #q.back > 0 then enqueue(q, q.back, q.priorities, false) end
    if #q.front + #q.back > 0 and q.open then redis.call('ZADD', q.marker, 0, '0') end
  end
  -- Only now is it known whether a parent has children that are not done.
  for _, parent in ipairs(touched) do
    if redis.call('SCARD', parent .. ':dependencies') == 0 then family.release(parent) end
  end
  return ids
end
