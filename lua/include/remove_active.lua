-- Removes the jobs of these rows from `active`. A worker's results arrive in the order of its claims: as a rule they are exactly the
-- oldest ids of the list, and one LTRIM removes them all.
local function remove_active(active, rows, good)
  if #good > 2 then
    local wanted, found = {}, 0
    for _, i in ipairs(good) do wanted[rows[i]] = true end
    for _, id in ipairs(redis.call('LRANGE', active, -#good, -1)) do
      if wanted[id] then found = found + 1 end
      -- An id that is listed twice counts once.
      wanted[id] = nil
    end
    if found == #good then
      redis.call('LTRIM', active, 0, -found - 1)
      return
    end
  end
  for _, i in ipairs(good) do redis.call('LREM', active, -1, rows[i]) end
end
