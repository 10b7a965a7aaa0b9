-- Delete the hashes of jobs and all that stands beside them. At most 1,000 ids.
local function drop(jobs, ids)
  local keys = {}
  for _, id in ipairs(ids) do
    local job = jobs .. id
    keys[#keys + 1] = job
    keys[#keys + 1] = job .. ':logs'
    keys[#keys + 1] = job .. ':dependencies'
    keys[#keys + 1] = job .. ':processed'
    keys[#keys + 1] = job .. ':failed'
    keys[#keys + 1] = job .. ':unsuccessful'
  end
  if #keys > 0 then redis.call('DEL', unpack(keys)) end
end
