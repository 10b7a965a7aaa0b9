-- Move finished jobs from active to `set` and release what they held. Rows of `good` (see check_claims) have, from their start:
-- id, token, fence, value, keep (see trim). `field` names the value in the hash, `event` the event; `extra(i, job)` may
-- write more of row i. What retention would take away in this same call is never written: those jobs are dropped at once.
-- `moment` is the time as text. `k` names: active jobs tell, what follow needs, `to_parent(i, goes)`, which tells the parent of
-- row i, what trim takes as `unlink`, and `meter`, which counts them by the minute, or is false.
local function finish_jobs(k, set, field, event, moment, rows, good, facts, extra)
  local scores, gone, keep = {}, {}, ''
  -- From the newest: neighbours with one rule keep so many, and those before them are beyond it.
  local surplus, kept, most = {}, 0, nil
  for n = #good, 1, -1 do
    local i = good[n]
    if rows[i + 4] ~= keep or n == #good then
      keep, kept, most = rows[i + 4], 0, tonumber(string.match(rows[i + 4], '^%d+'))
    end
    if most and kept >= most then surplus[i] = true end
    kept = kept + 1
  end
  local function flush()
    redis.call('ZADD', set, unpack(scores))
    trim(set, k.jobs, moment, keep, #scores / 2, k.unlink)
    scores = {}
  end
  local next_of = {}
  for _, i in ipairs(good) do
    local id, value, atm = rows[i], rows[i + 3], facts[i][1] or '0'
    -- The same few numbers again and again: their text is made once.
    local made = next_of[atm]
    if not made then
      made = string.format('%d', to_count(atm) + 1)
      next_of[atm] = made
    end
    if surplus[i] then
      gone[#gone + 1] = id
    else
      -- Each finishing job trims by its own rule; neighbours with the same rule trim together.
      if #scores > 0 and rows[i + 4] ~= keep then flush() end
      keep = rows[i + 4]
      redis.call('HSET', k.jobs .. id, field, value, 'finishedOn', moment, 'atm', made)
      scores[#scores + 1] = moment
      scores[#scores + 1] = id
    end
    if facts[i][7] then k.to_parent(i, surplus[i]) end
    k.emit(event, 'jobId', id, field, value, 'prev', 'active')
    if extra then extra(i, made) end
    if facts[i][2] then
      -- The end of a job ends its deduplication, unless a window of its own still runs.
      local window = k.jobs .. 'de:' .. facts[i][2]
      local left = redis.call('PTTL', window)
      if left == 0 or (left == -1 and redis.pcall('GET', window) == id and not promote_deduplicated(k, facts[i][2], moment)) then
        redis.call('DEL', window)
      end
    end
  end
  if #scores > 0 then flush() end
  -- Hashes go before ids: an id without a hash is found and dropped, a hash without an id stays for ever.
  delete_jobs(k.jobs, gone)
  remove_active(k.active, rows, good)
  if k.meter and #good > 0 then k.meter(moment, #good) end
end
