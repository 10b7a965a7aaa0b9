-- Deletes jobs for an operator: their hashes and the keys beside them, the deduplications that they own, and their names among their
-- parents' open children, which may release a parent. At most 1,000 ids. `flow` by release_parents; `deletes_parent(parent)`, or nil:
-- whether that parent is deleted too.
local function remove_jobs(jobs, ids, flow, deletes_parent)
  if #ids == 0 then return end
  -- A full server allows DEL as the first write, and then also to enqueue a parent.
  redis.call('DEL', jobs .. ids[1] .. ':logs')
  for _, id in ipairs(ids) do
    local job = redis.pcall('HMGET', jobs .. id, 'deid', 'parentKey', 'also')
    if job[1] and redis.pcall('GET', jobs .. 'de:' .. job[1]) == id then
      redis.call('DEL', jobs .. 'de:' .. job[1], jobs .. 'dn:' .. job[1])
    end
    if job[2] then flow.unlink(jobs .. id, job[2], job[3], deletes_parent) end
  end
  delete_jobs(jobs, ids)
end
