-- Claims up to `count` waiting jobs for a worker: those of `wait` first, then those of `prioritized`. Moves them to `active`, and sets
-- their locks, owners and fences. Returns:
--   rows: one list, six items of each job: name, data, opts, timestamp, fence, id. A table of its own for each job would cost more time
--     than what is in it
--   details: one list, seven items of each job that ran before, has a progress or is to fail without running: the number of its row
--     from 0, progress, defa, priority, atm, stc, stacktrace
--   more: whether more jobs wait; started: how many jobs start, which are all but those that are to fail without running
-- It stops once the data exceed 1 MiB, because a larger reply would block the server for too long. `now_text` is the time as text.
-- `waiting` has the last ids of `wait`, at least one more than `count` if there are so many, as LRANGE returned them since `wait` was
-- last written. `queue` has wait, prioritized, pc, active, jobs, emit, and `all_events`, the stream or false (see emitter).
local function claim(queue, now_text, token, lock_ms, worker, count, waiting)
  local call, attempt, jobs, wait, active, stream = redis.call, redis.pcall, queue.jobs, queue.wait, queue.active, queue.all_events
  local rows, details, waiting_count = {}, {}, #waiting
  local taken, ranked, more = math.min(waiting_count, count), 0, waiting_count > count
  local ids = {}
  for n = 1, taken do ids[n] = waiting[waiting_count + 1 - n] end
  if not more then
    -- One more than is claimed: it says whether more wait.
    local found = call('ZRANGE', queue.prioritized, '0', count - taken)
    ranked = math.min(#found, count - taken)
    more = #found > ranked
    for n = 1, ranked do ids[taken + n] = found[n] end
  end
  local total = taken + ranked
  if total == 0 then return rows, details, more, 0 end

  local good, keys, fences, missing, seen, bytes = {}, {}, {}, {}, {}, 0
  local good_count, last, started = 0, 0, 0
  for n = 1, total do
    if bytes > 1048576 then
      taken, ranked, more = math.min(taken, n - 1), math.max(0, n - 1 - taken), true
      break
    end
    local id = ids[n]
    local key = jobs .. id
    -- pcall: a foreign key at the place of one job must not stop the queue forever.
    local job = attempt('HMGET', key, 'name', 'data', 'opts', 'timestamp', 'ats', 'progress', 'defa')
    local data, ats = job[2], job[5]
    if job.err or not (data or job[1] or job[3]) then
      missing[#missing + 1] = id
    -- An id that is queued twice must not run twice under one token.
    elseif not seen[id] then
      seen[id] = true
      local fence = '1'
      if ats then
        local starts = tonumber(ats) or 0
        -- A stored count that is not a whole number starts again at 0: no claim could match it as a fence.
        if starts >= 0 and starts < 2 ^ 53 and starts % 1 == 0 then fence = string.format('%d', starts + 1) end
      end
      local progress, defa = job[6], job[7]
      -- A job that never ran has none of the other fields. Most jobs never ran, and each field costs time for all.
      if ats or progress or defa or n > taken then
        local stored = call('HMGET', key, 'priority', 'atm', 'stc', 'stacktrace')
        local at = #details
        details[at + 1], details[at + 2], details[at + 3], details[at + 4] = good_count, progress, defa, stored[1]
        details[at + 5], details[at + 6], details[at + 7] = stored[2], stored[3], stored[4]
      end
      if not defa then started = started + 1 end
      if data then bytes = bytes + #data end
      rows[last + 1], rows[last + 2], rows[last + 3], rows[last + 4] = job[1], data, job[3], job[4]
      rows[last + 5], rows[last + 6] = fence, id
      last = last + 6
      good_count = good_count + 1
      good[good_count], keys[good_count], fences[good_count] = id, key, fence
    end
  end

  if good_count > 0 then
    call('LPUSH', active, unpack(good))
    lock(keys, token, lock_ms)
  end
  if taken > 0 then call('LTRIM', wait, '0', -taken - 1) end
  if ranked > 0 then call('ZREMRANGEBYRANK', queue.prioritized, '0', ranked - 1) end
  for n = 1, good_count do
    call('HSET', keys[n], 'processedOn', now_text, 'ats', fences[n], 'owner', token, 'pb', worker)
    -- The first event of a call trims the stream.
    if stream and n > 1 then
      call('XADD', stream, '*', 'event', 'active', 'jobId', good[n], 'prev', 'waiting')
    else
      queue.emit('active', 'jobId', good[n], 'prev', 'waiting')
    end
  end
  for _, id in ipairs(missing) do queue.emit('missing', 'jobId', id) end
  if ranked > 0 and not more then call('DEL', queue.pc) end
  return rows, details, more, started
end
