-- The score of a delayed job, as text: its due time in ms times 4096, plus its place among the jobs that are due in the same ms.
-- `last` keeps the scores given in this call, by due time, so that a batch asks the server once for each ms.
local function due_score(delayed, due, last)
  local low, high = due * 4096, due * 4096 + 4095
  -- The server's own conversion of a number, and `%.0f`, take ten times as long as `%d`, which ends at 2^63.
  local whole = high < 9e18 and '%d' or '%.0f'
  local taken = last[due]
  if not taken then
    local found = redis.call('ZREVRANGEBYSCORE', delayed, string.format(whole, high), string.format(whole, low), 'WITHSCORES', 'LIMIT', 0, 1)
    taken = tonumber(found[2] or low - 1)
  end
  last[due] = math.min(taken + 1, high)
  return string.format(whole, last[due])
end

-- Stores in the marker when the next delayed job is due, for idle workers.
local function mark_due(delayed, marker)
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  if first[2] then redis.call('ZADD', marker, first[2] / 4096, '1') end
end
