-- Returns the function count(now_text, finished), which counts finished jobs by the minute (wire specification, 4.17), or false where
-- `minutes`, the number of minutes kept, is empty. Jobs counted together give the same as one by one: only the first can open a
-- minute. A bucket is written when a job finishes in a later minute, so the newest one is of the minute before that of `prevTS`.
local function count_metrics(jobs, kind, minutes)
  if minutes == '' then return false end
  local key, most = jobs .. 'metrics:' .. kind, tonumber(minutes)
  local stored = redis.call('HMGET', key, 'count', 'prevTS', 'prevCount')
  redis.call('LLEN', key .. ':data')
  return function(now_text, finished)
    local before, since, counted = tonumber(stored[1]) or 0, tonumber(stored[2]), tonumber(stored[3]) or 0
    redis.call('HSET', key, 'count', string.format('%.0f', before + finished))
    if not since then
      redis.call('HSET', key, 'prevTS', now_text, 'prevCount', 0)
      return
    end
    local passed = math.min(math.floor(now_text / 60000) - math.floor(since / 60000), most)
    if passed <= 0 then return end
    redis.call('LPUSH', key .. ':data', string.format('%.0f', before - counted))
    local zeros = {}
    for n = 1, math.min(passed - 1, 1000) do zeros[n] = '0' end
    for left = passed - 1, 1, -1000 do redis.call('LPUSH', key .. ':data', unpack(zeros, 1, math.min(left, 1000))) end
    redis.call('LTRIM', key .. ':data', 0, most - 1)
    redis.call('HSET', key, 'prevCount', string.format('%.0f', before), 'prevTS', now_text)
  end
end
