-- Whether the time in `key`, ms, is less than `interval` ago: by its age, and not by its time to live, which is the interval of
-- whoever wrote it. One slow worker must not hold back the others.
local function checked_recently(key, now, interval)
  local at = redis.pcall('GET', key)
  local age = type(at) == 'string' and now - (tonumber(at) or 0)
  return age and age >= 0 and age < tonumber(interval)
end
