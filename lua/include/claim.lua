-- Take up to `count` jobs in line for a worker. Returns a row for each, and whether more wait.
-- `k` names the keys: wait prioritized pc active marker events jobs.
local function claim(k, now, token, lock_ms, worker, count)
  if count < 1 then return {}, redis.call('LLEN', k.wait) + redis.call('ZCARD', k.prioritized) > 0 end
  local ids = redis.call('LRANGE', k.wait, -count, -1)
  local taken, ranked = #ids, 0
  for i = 1, math.floor(taken / 2) do ids[i], ids[taken + 1 - i] = ids[taken + 1 - i], ids[i] end
  if taken < count then
    for _, id in ipairs(redis.call('ZRANGE', k.prioritized, 0, count - taken - 1)) do
      ids[#ids + 1] = id
      ranked = ranked + 1
    end
  end
  if #ids == 0 then return {}, false end

  local good, rows, missing, seen = {}, {}, {}, {}
  for _, id in ipairs(ids) do
    -- pcall: one foreign key where a job should be must not stop the queue for ever.
    local job = redis.pcall('HMGET', k.jobs .. id, 'name', 'data', 'opts', 'timestamp', 'priority', 'atm', 'ats', 'stc', 'stacktrace', 'defa', 'progress')
    if job.err or not (job[1] or job[2] or job[3]) then
      missing[#missing + 1] = id
    -- An id that stands in line twice must not run twice under one token.
    elseif not seen[id] then
      seen[id] = true
      job[7] = (tonumber(job[7]) or 0) + 1
      job[12] = id
      good[#good + 1] = id
      rows[#rows + 1] = job
    end
  end

  if #good > 0 then redis.call('LPUSH', k.active, unpack(good)) end
  if taken > 0 then redis.call('LTRIM', k.wait, 0, -taken - 1) end
  if ranked > 0 then redis.call('ZREMRANGEBYRANK', k.prioritized, 0, ranked - 1) end
  for i, id in ipairs(good) do
    local job = k.jobs .. id
    redis.call('SET', job .. ':lock', token, 'PX', lock_ms)
    redis.call('HSET', job, 'processedOn', now, 'ats', rows[i][7], 'owner', token, 'pb', worker)
    redis.call('XADD', k.events, '*', 'event', 'active', 'jobId', id, 'prev', 'waiting')
  end
  for _, id in ipairs(missing) do redis.call('XADD', k.events, '*', 'event', 'missing', 'jobId', id) end

  if redis.call('LLEN', k.wait) > 0 then return rows, true end
  if redis.call('ZCARD', k.prioritized) > 0 then return rows, true end
  if ranked > 0 then redis.call('DEL', k.pc) end
  return rows, false
end
