-- Delete jobs that an operator takes away: the hashes and what stands beside them, the deduplication that is theirs, and
-- their names among their parents' open children, who may be released by it. At most 1,000 ids. `takes_parent` is kin's `goes`.
local function remove_jobs(jobs, ids, family, takes_parent)
  if #ids == 0 then return end
  -- A full server allows this one as the first write, and then also the place of a parent.
  redis.call('DEL', jobs .. ids[1] .. ':logs')
  for _, id in ipairs(ids) do
    local job = redis.pcall('HMGET', jobs .. id, 'deid', 'parentKey', 'also')
    if job[1] and redis.pcall('GET', jobs .. 'de:' .. job[1]) == id then
      redis.call('DEL', jobs .. 'de:' .. job[1], jobs .. 'dn:' .. job[1])
    end
    if job[2] then family.unlink(jobs .. id, job[2], job[3], takes_parent) end
  end
  delete_jobs(jobs, ids)
end
