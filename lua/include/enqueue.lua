-- The one rule for where jobs without a priority wait. `k` names the keys: `wait`, and `aside`, the list of a paused queue, false
-- while it is not paused. Pushes the ids one after the other, and returns the list that has them now.
-- In a paused queue they go aside: a resume by BullMQ 5 deletes what is in `wait` then. BullMQ 6 leaves in `wait` what waits when it
-- pauses, and adds there; those jobs were in line before and go aside first. Where they are too many for one call (see merge_paused), the
-- line goes on in `wait`, and its back is there.
local function push(k, ids, front)
  if k.aside and k.gathered == nil then k.gathered = merge_paused(k.wait, k.aside) end
  local list = k.aside and (front or k.gathered) and k.aside or k.wait
  redis.call(front and 'RPUSH' or 'LPUSH', list, unpack(ids))
  return list
end

-- Put jobs that may run now in line: those without a priority by `push`, the others in `prioritized`. `k` names also: prioritized pc.
-- `ids` and `priorities` go hand in hand; the first id is the one to run first. At the front, they go before all that wait.
-- Returns the list that has those without a priority, nil if there are none.
local function enqueue(k, ids, priorities, front)
  local plain, ranked = {}, {}
  local from, to, step = 1, #ids, 1
  -- What is pushed last to the front, or given the lowest score there, runs first.
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
  if #plain > 0 then list = push(k, plain, front) end
  if #ranked == 0 then return list end

  -- The counter in the low half keeps one priority first in, first out.
  local scored, count, lowest = {}, 0, {}
  if not front then count = redis.call('INCRBY', k.pc, #ranked) - #ranked end
  for n, job in ipairs(ranked) do
    local base, score = job[1], job[1]
    if front then
      -- One below the first of this priority, where those that were taken from there have left room; 0 is the lowest.
      -- With none of it in line, the front is the back.
      if not lowest[base] then
        local found = redis.call('ZRANGEBYSCORE', k.prioritized, base, base + 4294967295, 'WITHSCORES', 'LIMIT', 0, 1)
        lowest[base] = tonumber(found[2]) or base + redis.call('INCRBY', k.pc, #ranked) % 4294967296 + 1
      end
      score = math.max(base, lowest[base] - 1)
      lowest[base] = score
    else
      score = base + (count + n) % 4294967296
    end
    scored[2 * n - 1], scored[2 * n] = score, job[2]
  end
  redis.call('ZADD', k.prioritized, unpack(scored))
  return list
end
