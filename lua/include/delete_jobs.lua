-- Deletes the hashes of jobs and the keys beside them. At most 1,000 ids.
local function delete_jobs(jobs, ids)
  if #ids == 0 then return end
  local structures = ' meta id wait paused active prioritized pc delayed waiting-children completed failed stalled stalled-check marker '
    .. 'events limiter repeat de dn metrics priority delay '
  local keys, count, beside, size = {}, 0, {}, 0
  for n = 1, #ids do
    local id = ids[n]
    -- An id that names a structure or a schedule is not a job's: its key holds the structure. Most ids are numbers and need no check.
    local is_structure = (string.byte(id) or 0) > 57 and (string.find(structures, ' ' .. id .. ' ', 1, true) or string.find(id, '^repeat:[^:]*$'))
    if not is_structure then
      local job = jobs .. id
      count = count + 1
      keys[count] = job
      beside[size + 1], beside[size + 2], beside[size + 3] = job .. ':logs', job .. ':dependencies', job .. ':processed'
      beside[size + 4], beside[size + 5] = job .. ':failed', job .. ':unsuccessful'
      size = size + 5
    end
  end
  if count == 0 then return end
  -- Most jobs have nothing beside their hash. EXISTS looks a missing key up once, DEL three times. For one job a command more costs as much.
  if count == 1 or redis.call('EXISTS', unpack(beside)) > 0 then
    for n = 1, size do keys[count + n] = beside[n] end
  end
  redis.call('DEL', unpack(keys))
end
