-- Put jobs that may run now in line: `list` holds those without a priority, `prioritized` the others.
-- `ids` and `priorities` go hand in hand; the first id is the one to run first. At the front, they go before all that wait.
local function place(list, prioritized, pc, ids, priorities, front)
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
  if #plain > 0 then redis.call(front and 'RPUSH' or 'LPUSH', list, unpack(plain)) end
  if #ranked == 0 then return end

  -- The counter in the low half keeps one priority first in, first out.
  local scored, count, lowest = {}, 0, {}
  if not front then count = redis.call('INCRBY', pc, #ranked) - #ranked end
  for n, job in ipairs(ranked) do
    local base, score = job[1], job[1]
    if front then
      -- One below the first of this priority, where those that were taken from there have left room; 0 is the lowest.
      -- With none of it in line, the front is the back.
      if not lowest[base] then
        local found = redis.call('ZRANGEBYSCORE', prioritized, base, base + 4294967295, 'WITHSCORES', 'LIMIT', 0, 1)
        lowest[base] = tonumber(found[2]) or base + redis.call('INCRBY', pc, #ranked) % 4294967296 + 1
      end
      score = math.max(base, lowest[base] - 1)
      lowest[base] = score
    else
      score = base + (count + n) % 4294967296
    end
    scored[2 * n - 1], scored[2 * n] = score, job[2]
  end
  redis.call('ZADD', prioritized, unpack(scored))
end
