-- Move finished jobs from active to `set` and release what they held. Rows of `good` (see held) have, from their start:
-- id, token, fence, value, keep count, keep age. `field` names the value in the hash, `event` the event; `extra(i, job)`
-- may write more of row i. What retention would take away in this same call is never written: those jobs are dropped at once.
local function settle(k, set, field, event, now, rows, good, facts, extra)
  local scores, gone, count, age = {}, {}, '', ''
  -- From the newest: neighbours with one rule keep so many, and those before them are beyond it.
  local surplus, kept = {}, 0
  for n = #good, 1, -1 do
    local i = good[n]
    if rows[i + 4] ~= count or rows[i + 5] ~= age then
      count, age, kept = rows[i + 4], rows[i + 5], 0
    end
    if count ~= '' and kept >= tonumber(count) then surplus[i] = true end
    kept = kept + 1
  end
  local function flush()
    redis.call('ZADD', set, unpack(scores))
    trim(set, k.jobs, now, count, age)
    scores = {}
  end
  for _, i in ipairs(good) do
    local id, value, made = rows[i], rows[i + 3], (tonumber(facts[i][1]) or 0) + 1
    if surplus[i] then
      gone[#gone + 1] = id
    else
      -- Each finishing job trims by its own rule; neighbours with the same rule trim together.
      if #scores > 0 and (rows[i + 4] ~= count or rows[i + 5] ~= age) then flush() end
      count, age = rows[i + 4], rows[i + 5]
      redis.call('HSET', k.jobs .. id, field, value, 'finishedOn', now, 'atm', made)
      scores[#scores + 1] = now
      scores[#scores + 1] = id
    end
    redis.call('XADD', k.events, '*', 'event', event, 'jobId', id, field, value, 'prev', 'active')
    if extra then extra(i, made) end
    if facts[i][2] then
      -- The end of a job ends its deduplication, unless a window of its own still runs.
      local window = k.jobs .. 'de:' .. facts[i][2]
      local left = redis.call('PTTL', window)
      if left == 0 or (left == -1 and redis.pcall('GET', window) == id) then redis.call('DEL', window) end
    end
  end
  if #scores > 0 then flush() end
  -- Hashes go before ids: an id without a hash is found and dropped, a hash without an id stays for ever.
  drop(k.jobs, gone)
  for _, i in ipairs(good) do redis.call('LREM', k.active, -1, rows[i]) end
end
