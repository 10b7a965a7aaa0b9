-- Adds ids without a priority to a list, one after the other, and returns the key of that list. The one rule for where such jobs wait;
-- `queue` has wait, and `paused_list`, the key of the paused jobs' list while the queue is paused, else false.
-- In a paused queue they go to the paused list, because a resume by BullMQ 5 deletes the list `wait`. BullMQ 6 leaves waiting jobs in
-- `wait` when it pauses, and adds there; those came first, and are merged into the paused list first. Where one call cannot
-- merge them all (see merge_paused), the back of the queue is in `wait`.
local function push(queue, ids, front)
  if queue.paused_list and queue.is_merged == nil then queue.is_merged = merge_paused(queue.wait, queue.paused_list) end
  local list = queue.paused_list and (front or queue.is_merged) and queue.paused_list or queue.wait
  redis.call(front and 'RPUSH' or 'LPUSH', list, unpack(ids))
  return list
end

-- Adds jobs that may run now to the waiting ones: those without a priority by `push`, the others to `prioritized`. The first id is to run
-- first; `priorities` has the priority of each. With `front` they go before the others. Returns the list that push chose, or nil.
-- `queue` has also prioritized and pc.
local function enqueue(queue, ids, priorities, front)
  local plain, ranked = {}, {}
  local from, to, step = 1, #ids, 1
  -- At the front, the id that is pushed last, or gets the lowest score, runs first.
  if front then from, to, step = #ids, 1, -1 end
  for n = from, to, step do
    local priority = tonumber(priorities[n]) or 0
    if priority > 0 then
      ranked[#ranked + 1] = { priority * 4294967296, ids[n] }
    else
      plain[#plain + 1] = ids[n]
    end
  end
  local list = nil
  if #plain > 0 then list = push(queue, plain, front) end
  if #ranked == 0 then return list end

  -- The counter in the low half keeps one priority first in, first out.
  local scored, count, lowest = {}, 0, {}
  if not front then count = redis.call('INCRBY', queue.pc, #ranked) - #ranked end
  for n, job in ipairs(ranked) do
    local base, score = job[1], job[1]
    if front then
      -- One below the first job of this priority: claims from the front have left room there. The lowest place is 0.
      -- Without a job of this priority the front is the back.
      if not lowest[base] then
        local found = redis.call('ZRANGEBYSCORE', queue.prioritized, base, base + 4294967295, 'WITHSCORES', 'LIMIT', 0, 1)
        lowest[base] = tonumber(found[2]) or base + redis.call('INCRBY', queue.pc, #ranked) % 4294967296 + 1
      end
      score = math.max(base, lowest[base] - 1)
      lowest[base] = score
    else
      score = base + (count + n) % 4294967296
    end
    scored[2 * n - 1], scored[2 * n] = score, job[2]
  end
  redis.call('ZADD', queue.prioritized, unpack(scored))
  return list
end
