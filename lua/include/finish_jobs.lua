-- Moves jobs from `active` to a set of finished jobs, writes their results and events, applies retention, and ends their deduplications.
-- `rows`, `good` and `fields` as in check_claims; a row continues with the value and what is kept (see trim), and one without fields
-- with its `atm`. `ending` has:
--   set: key of the set; field, event: names of the value's field in the hash, and of the event; now_text: the time as text
--   notify_parents(i, is_deleted): called for each row whose job has a parent
--   end_deduplication(queue, deduplication, id, now_text): called for each row whose job has a deduplication
--   unlink(ids), or nil: see trim; count(now_text, jobs), or false: see count_metrics
--   after(i, made), or nil: called after the event of row i, with the attempts made
-- A job that retention would delete in the same call is never written to the set: its hash is deleted at once.
-- `queue` has active, jobs, emit, `result_events`, the stream or false (see emitter), and what end_deduplication needs.
local function finish_jobs(queue, rows, good, fields, ending)
  local call, jobs, stream, after = redis.call, queue.jobs, queue.result_events, ending.after
  local set, field, event, now_text = ending.set, ending.field, ending.event, ending.now_text
  local deleted, count, next_of, n = {}, #good, {}, 1
  while n <= count do
    -- Each job trims by its own rule; neighbours with the same rule trim together. The newest of them stay, as many as the rule says.
    local keep, last = rows[good[n] + 4], n
    while last < count and rows[good[last + 1] + 4] == keep do last = last + 1 end
    local most = keep ~= '' and tonumber(string.match(keep, '^%d+'))
    local first_kept = most and last - most + 1 or n
    local scores, size = {}, 0
    for m = n, last do
      local i = good[m]
      local id, value, job = rows[i], rows[i + 3], fields[i]
      local atm = job and (job[ATM] or '0') or rows[i + 5]
      -- Most jobs of a call have the same few counts: the text of each is made once.
      local made = next_of[atm]
      if not made then
        made = string.format('%d', to_count(atm) + 1)
        next_of[atm] = made
      end
      if m < first_kept then
        deleted[#deleted + 1] = id
      else
        call('HSET', jobs .. id, field, value, 'finishedOn', now_text, 'atm', made)
        scores[size + 1], scores[size + 2] = now_text, id
        size = size + 2
      end
      if job and job[PARENT_KEY] then ending.notify_parents(i, m < first_kept) end
      -- The first event of a call trims the stream; `emit` counts large values.
      if stream and m > 1 and #value <= 4096 then
        call('XADD', stream, '*', 'event', event, 'jobId', id, field, value, 'prev', 'active')
      else
        queue.emit(event, 'jobId', id, field, value, 'prev', 'active')
      end
      if after then after(i, made) end
      if job and job[DEID] then ending.end_deduplication(queue, job[DEID], id, now_text) end
    end
    if size > 0 then
      call('ZADD', set, unpack(scores))
      trim(set, jobs, now_text, keep, size / 2, ending.unlink)
    end
    n = last + 1
  end
  -- Hashes before ids: a claim drops an id without a hash, but nothing would find a hash without an id.
  delete_jobs(jobs, deleted)
  remove_active(queue.active, rows, good)
  if ending.count and count > 0 then ending.count(now_text, count) end
end
