-- Jobs that retention may still delete in this call of the script, by all rules of all rows: each takes 3 to 5 us. It exceeds the rows of
-- a call (pace.PER_CALL), so that a backlog shrinks.
local trim_left = 500

-- Retention: deletes from a set of finished jobs those that are too old, and those beyond the newest ones. `keep` is 'COUNT,SECONDS',
-- either empty for no limit, or an empty text for neither. A long backlog takes several calls (`trim_left`); with
-- 'COUNT,SECONDS,LIMIT' at most LIMIT by age for each of the `finished` jobs of this call.
-- `unlink(ids)`, or nil, takes deleted jobs out of the open children of their parents.
local function trim(set, jobs, now_text, keep, finished, unlink)
  if keep == '' then return end
  local function delete(ids)
    if #ids == 0 then return end
    trim_left = trim_left - #ids
    if unlink then unlink(ids) end
    delete_jobs(jobs, ids)
    redis.call('ZREM', set, unpack(ids))
  end
  local count, age, limit = string.match(keep, '^(%d*),(%d*),?(%d*)$')
  if age ~= '' and trim_left > 0 then
    delete(redis.call('ZRANGEBYSCORE', set, '-inf', string.format('%.0f', now_text - age * 1000), 'LIMIT', '0',
      math.min(trim_left, (tonumber(limit) or trim_left) * finished)))
  end
  if count ~= '' and trim_left > 0 then
    local excess = redis.call('ZCARD', set) - count
    if excess > 0 then delete(redis.call('ZRANGE', set, '0', math.min(excess, trim_left) - 1)) end
  end
end
