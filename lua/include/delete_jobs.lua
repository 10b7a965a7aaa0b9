-- Deletes the hashes of jobs and the keys beside them. At most 1,000 ids.
local function delete_jobs(jobs, ids)
  if #ids == 0 then return end
  local structures = ' meta id wait paused active prioritized pc delayed waiting-children completed failed stalled stalled-check marker '
    .. 'events limiter repeat de dn metrics priority delay '
  local keys = {}
  for _, id in ipairs(ids) do
    -- An id that names a structure or a schedule is not a job's: its key holds the structure. Most ids are numbers and need no check.
    local is_structure = (string.byte(id) or 0) > 57 and (string.find(structures, ' ' .. id .. ' ', 1, true) or string.find(id, '^repeat:[^:]*$'))
    if not is_structure then
      local job = jobs .. id
      keys[#keys + 1] = job
      keys[#keys + 1] = job .. ':logs'
      keys[#keys + 1] = job .. ':dependencies'
      keys[#keys + 1] = job .. ':processed'
      keys[#keys + 1] = job .. ':failed'
      keys[#keys + 1] = job .. ':unsuccessful'
    end
  end
  if #keys > 0 then redis.call('DEL', unpack(keys)) end
end
