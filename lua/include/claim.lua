-- Take up to `count` jobs in line for a worker. Returns a row for each, and whether more wait. A row is: name, data, opts,
-- timestamp, fence, id; and for a job that ran before, has a progress or is to fail without running, also: progress, defa,
-- priority, atm, stc, stacktrace. `k` names the keys: wait prioritized pc active marker events jobs; `moment` is the time as text.
-- Once their data have over 1 MB it takes no more: carrying them would hold the server for too long.
local function claim(k, moment, token, lock_ms, worker, count)
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

  local good, rows, missing, seen, bytes = {}, {}, {}, {}, 0
  for n, id in ipairs(ids) do
    if bytes > 1048576 then
      taken, ranked = math.min(taken, n - 1), math.max(0, n - 1 - taken)
      break
    end
    local key = k.jobs .. id
    -- pcall: one foreign key where a job should be must not stop the queue for ever.
    local job = redis.pcall('HMGET', key, 'name', 'data', 'opts', 'timestamp', 'ats', 'progress', 'defa')
    if job.err or not (job[1] or job[2] or job[3]) then
      missing[#missing + 1] = id
    -- An id that stands in line twice must not run twice under one token.
    elseif not seen[id] then
      seen[id] = true
      bytes = bytes + (job[2] and #job[2] or 0)
      -- A fresh job has nothing more to tell; most are fresh, and each field costs all of them.
      if job[5] or job[6] or job[7] or n > taken then
        local more = redis.call('HMGET', key, 'priority', 'atm', 'stc', 'stacktrace')
        job[8], job[9], job[10], job[11], job[12] = job[7], more[1], more[2], more[3], more[4]
        job[7] = job[6]
      else
        job[7] = nil
      end
      local starts = tonumber(job[5]) or 0
      -- A count that is none, of any producer, begins anew: as a fence it would fit no claim.
      job[5] = starts >= 0 and starts < 2 ^ 53 and starts % 1 == 0 and starts + 1 or 1
      job[6] = id
      good[#good + 1] = id
      rows[#rows + 1] = job
    end
  end

  if #good > 0 then
    redis.call('LPUSH', k.active, unpack(good))
    lock(k.jobs, good, token, lock_ms)
  end
  if taken > 0 then redis.call('LTRIM', k.wait, 0, -taken - 1) end
  if ranked > 0 then redis.call('ZREMRANGEBYRANK', k.prioritized, 0, ranked - 1) end
  for i, id in ipairs(good) do
    redis.call('HSET', k.jobs .. id, 'processedOn', moment, 'ats', rows[i][5], 'owner', token, 'pb', worker)
    k.emit('active', 'jobId', id, 'prev', 'waiting')
  end
  for _, id in ipairs(missing) do k.emit('missing', 'jobId', id) end

  if redis.call('LLEN', k.wait) > 0 then return rows, true end
  if redis.call('ZCARD', k.prioritized) > 0 then return rows, true end
  if ranked > 0 then redis.call('DEL', k.pc) end
  return rows, false
end
