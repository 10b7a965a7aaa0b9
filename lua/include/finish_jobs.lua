-- Moves jobs from `active` to a set of finished jobs, writes their results and events, applies retention, and ends their deduplications.
-- `rows`, `good` and `fields` as in check_claims; a row continues with the value and what is kept (see trim). `ending` has:
--   set: key of the set; field, event: names of the value's field in the hash, and of the event; now_text: the time as text
--   notify_parents(i, is_deleted): called for each row whose job has a parent
--   unlink(ids), or nil: see trim; count(now_text, jobs), or false: see count_metrics
--   after(i, made), or nil: called after the event of row i, with the attempts made
-- A job that retention would delete in the same call is never written to the set: its hash is deleted at once.
-- `queue` has active, jobs, emit, and what end_deduplication needs.
local function finish_jobs(queue, rows, good, fields, ending)
  local jobs, emit, set, field, event, now_text = queue.jobs, queue.emit, ending.set, ending.field, ending.event, ending.now_text
  local notify_parents, after = ending.notify_parents, ending.after
  local scores, deleted, keep = {}, {}, ''
  -- From the newest: of neighbours with one rule the newest stay, as many as the rule says.
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
    trim(set, jobs, now_text, keep, #scores / 2, ending.unlink)
    scores = {}
  end
  -- Most jobs of a call have the same few counts: the text of each is made once.
  local next_of = {}
  for _, i in ipairs(good) do
    local id, value, job = rows[i], rows[i + 3], fields[i]
    local atm = job[ATM] or '0'
    local made = next_of[atm]
    if not made then
      made = string.format('%d', to_count(atm) + 1)
      next_of[atm] = made
    end
    if surplus[i] then
      deleted[#deleted + 1] = id
    else
      -- Each job trims by its own rule; neighbours with the same rule trim together.
      if #scores > 0 and rows[i + 4] ~= keep then flush() end
      keep = rows[i + 4]
      redis.call('HSET', jobs .. id, field, value, 'finishedOn', now_text, 'atm', made)
      scores[#scores + 1] = now_text
      scores[#scores + 1] = id
    end
    if job[PARENT_KEY] then notify_parents(i, surplus[i]) end
    emit(event, 'jobId', id, field, value, 'prev', 'active')
    if after then after(i, made) end
    if job[DEID] then end_deduplication(queue, job[DEID], id, now_text) end
  end
  if #scores > 0 then flush() end
  -- Hashes before ids: a claim drops an id without a hash, but nothing would find a hash without an id.
  delete_jobs(jobs, deleted)
  remove_active(queue.active, rows, good)
  if ending.count and #good > 0 then ending.count(now_text, #good) end
end
