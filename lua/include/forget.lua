-- Delete jobs that an operator takes away: the hashes and what stands beside them, the deduplication that is theirs, and
-- their names among a parent's open children. At most 1,000 ids.
local function forget(jobs, ids)
  for _, id in ipairs(ids) do
    local job = redis.pcall('HMGET', jobs .. id, 'deid', 'parentKey')
    if job[1] and redis.pcall('GET', jobs .. 'de:' .. job[1]) == id then
      redis.call('DEL', jobs .. 'de:' .. job[1], jobs .. 'dn:' .. job[1])
    end
    -- pcall: a parent is in a queue of its own, which may not be sound.
    if job[2] then redis.pcall('SREM', job[2] .. ':dependencies', jobs .. id) end
  end
  drop(jobs, ids)
end
