-- Retention: drop from a set of finished jobs what is older and what is beyond the newest so many. `keep` is 'COUNT,SECONDS'
-- with nothing for no limit, or empty for neither. At most 1,000 of each a call, so a long backlog is worked off over several; and
-- with 'COUNT,SECONDS,LIMIT' at most so many by age for each of the jobs that finish in this call, `finished` of them.
-- `unlink(ids)` lets go those who still wait for such a job.
local function trim(set, jobs, moment, keep, finished, unlink)
  if keep == '' then return end
  local count, age, limit = string.match(keep, '^(%d*),(%d*),?(%d*)$')
  if age ~= '' then
    local old = redis.call('ZRANGEBYSCORE', set, '-inf', string.format('%.0f', moment - age * 1000), 'LIMIT', 0,
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
