-- Retention: deletes from a set of finished jobs those that are too old, and those beyond the newest ones. `keep` is 'COUNT,SECONDS',
-- either empty for no limit, or an empty text for neither. At most 1,000 by each rule in a call, so that a long backlog takes
-- several calls; with 'COUNT,SECONDS,LIMIT' at most LIMIT by age for each of the `finished` jobs of this call.
-- `unlink(ids)`, or nil, takes deleted jobs out of the open children of their parents.
local function trim(set, jobs, now_text, keep, finished, unlink)
  if keep == '' then return end
  local count, age, limit = string.match(keep, '^(%d*),(%d*),?(%d*)$')
  if age ~= '' then
    local old = redis.call('ZRANGEBYSCORE', set, '-inf', string.format('%.0f', now_text - age * 1000), 'LIMIT', 0,
      math.min(1000, (tonumber(limit) or 1000) * finished))
    if #old > 0 then
      if unlink then unlink(old) end
      delete_jobs(jobs, old)
      redis.call('ZREM', set, unpack(old))
    end
  end
  if count ~= '' then
    local excess = redis.call('ZCARD', set) - count
    if excess > 0 then
      local old = redis.call('ZRANGE', set, 0, math.min(excess, 1000) - 1)
      if unlink then unlink(old) end
      delete_jobs(jobs, old)
      redis.call('ZREM', set, unpack(old))
    end
  end
end
