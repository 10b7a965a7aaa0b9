-- Removes the jobs of these rows from `active`. A worker's results arrive in the order of its claims: as a rule they are exactly the
-- oldest ids of the list, mostly in this order, and one LTRIM removes them all.
local function remove_active(active, rows, good)
  local call, count = redis.call, #good
  if count > 2 then
    local oldest = call('LRANGE', active, -count, '-1')
    local found = 0
    while found < count and oldest[count - found] == rows[good[found + 1]] do found = found + 1 end
    if found < count then
      local wanted = {}
      found = 0
      for n = 1, count do wanted[rows[good[n]]] = true end
      for n = 1, #oldest do
        local id = oldest[n]
        if wanted[id] then found = found + 1 end
        -- An id that is listed twice counts once.
        wanted[id] = nil
      end
    end
    if found == count then
      call('LTRIM', active, '0', -found - 1)
      return
    end
  end
  for n = 1, count do call('LREM', active, '-1', rows[good[n]]) end
end
