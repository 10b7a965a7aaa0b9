-- Take the jobs of those rows out of `active`. A worker's results come as its claims went: they are as a rule just what
-- stands at the old end, and one cut takes them all.
local function remove_active(active, rows, good)
  if #good > 2 then
    local sought, found = {}, 0
    for _, i in ipairs(good) do sought[rows[i]] = true end
    for _, id in ipairs(redis.call('LRANGE', active, -#good, -1)) do
      if sought[id] then found = found + 1 end
      -- An id that stands there twice is not two of them.
      sought[id] = nil
    end
    if found == #good then
      redis.call('LTRIM', active, 0, -found - 1)
      return
    end
  end
  for _, i in ipairs(good) do redis.call('LREM', active, -1, rows[i]) end
end
