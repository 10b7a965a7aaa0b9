-- Claims up to `count` waiting jobs for a worker: those of `wait` first, then those of `prioritized`. Moves them to `active`, and sets
-- their locks, owners and fences. Returns a row for each, and whether more jobs wait. A row is: name, data, opts, timestamp, fence, id;
-- of a job that ran before, has a progress or is to fail without running, also: progress, defa, priority, atm, stc, stacktrace.
-- It stops once the data exceed 1 MiB, because a larger reply would block the server for too long. `now_text` is the time as text.
-- `queue` has wait, prioritized, pc, active, jobs, emit.
local function claim(queue, now_text, token, lock_ms, worker, count)
  if count < 1 then return {}, redis.call('LLEN', queue.wait) + redis.call('ZCARD', queue.prioritized) > 0 end
  local ids = redis.call('LRANGE', queue.wait, -count, -1)
  local taken, ranked = #ids, 0
  for i = 1, math.floor(taken / 2) do ids[i], ids[taken + 1 - i] = ids[taken + 1 - i], ids[i] end
  if taken < count then
    for _, id in ipairs(redis.call('ZRANGE', queue.prioritized, 0, count - taken - 1)) do
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
    local key = queue.jobs .. id
    -- pcall: a foreign key at the place of one job must not stop the queue forever.
    local job = redis.pcall('HMGET', key, 'name', 'data', 'opts', 'timestamp', 'ats', 'progress', 'defa')
    local data, ats, progress, defa = job[2], job[5], job[6], job[7]
    if job.err or not (data or job[1] or job[3]) then
      missing[#missing + 1] = id
    -- An id that is queued twice must not run twice under one token.
    elseif not seen[id] then
      seen[id] = true
      bytes = bytes + (data and #data or 0)
      -- A job that never ran has none of the other fields. Most jobs never ran, and each field costs time for all.
      if ats or progress or defa or n > taken then
        local more = redis.call('HMGET', key, 'priority', 'atm', 'stc', 'stacktrace')
        job[7], job[8], job[9], job[10], job[11], job[12] = progress, defa, more[1], more[2], more[3], more[4]
      else
        job[7] = nil
      end
      local starts = tonumber(ats) or 0
      -- A stored count that is not a whole number starts again at 0: no claim could match it as a fence.
      job[5] = starts >= 0 and starts < 2 ^ 53 and starts % 1 == 0 and starts + 1 or 1
      job[6] = id
      good[#good + 1] = id
      rows[#rows + 1] = job
    end
  end

  if #good > 0 then
    redis.call('LPUSH', queue.active, unpack(good))
    lock(queue.jobs, good, token, lock_ms)
  end
  if taken > 0 then redis.call('LTRIM', queue.wait, 0, -taken - 1) end
  if ranked > 0 then redis.call('ZREMRANGEBYRANK', queue.prioritized, 0, ranked - 1) end
  for i, id in ipairs(good) do
    redis.call('HSET', queue.jobs .. id, 'processedOn', now_text, 'ats', rows[i][5], 'owner', token, 'pb', worker)
    queue.emit('active', 'jobId', id, 'prev', 'waiting')
  end
  for _, id in ipairs(missing) do queue.emit('missing', 'jobId', id) end

  if redis.call('LLEN', queue.wait) > 0 then return rows, true end
  if redis.call('ZCARD', queue.prioritized) > 0 then return rows, true end
  if ranked > 0 then redis.call('DEL', queue.pc) end
  return rows, false
end
