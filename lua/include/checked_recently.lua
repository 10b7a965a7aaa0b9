-- Whether the time stored in `key`, ms, is less than `interval` ago. It compares the age, not the key's time to live, which is the
-- interval of the worker that wrote it: a worker with a long interval must not hold back the others.
local function checked_recently(key, now, interval)
  local at = redis.pcall('GET', key)
  local age = type(at) == 'string' and now - (tonumber(at) or 0)
  return age and age >= 0 and age < tonumber(interval)
end
