-- How fast jobs may start: a hold that a job asked for, a fixed window of so many starts (BullMQ's), and a smoothed limit
-- beside it. Asked only where one of them is set.

-- What may start now: `free` jobs, and where that is 0, `wait` ms until one may; false where nothing limits it. `pace` is
-- what gate says; `own` is the worker's limiter, MAX,MS or empty.
-- Of the window's size the queue's word goes first, of its length the worker's, as in BullMQ.
local function rate(meta, limiter, smoothed, pace, own, now)
  if pace and pace.hold and pace.hold > now then return { free = 0, wait = pace.hold - now } end
  local own_max, own_duration = string.match(own, '^(%d+),(%d+)$')
  local max = tonumber(pace and pace.max or own_max)
  local duration = tonumber(own_duration or pace and pace.duration)
  -- What another program wrote and is no limit, is none.
  if not (max and duration and max >= 1 and math.abs(duration) < 1e15) then return false end
  max, duration = math.floor(max), math.max(1, math.floor(math.abs(duration)))

  local count, left = redis.call('GET', limiter), 0
  if count then
    count = tonumber(count)
    if not count then error('the counter of the rate limit is not a number') end
    left = redis.call('PTTL', limiter)
  end
  -- In its last ms a window is over, as in BullMQ. One without an end would never begin anew.
  local begins = left <= 0
  local limit = { limiter = limiter, smoothed = smoothed, free = begins and max or math.max(0, max - count), wait = 0, begins = begins,
    ends = begins and duration or left }
  limit.window = limit.free
  if limit.free == 0 then limit.wait = left end

  local span = pace and pace.max and tonumber(pace.duration)
  if span and span >= 1 and redis.call('HGET', meta, 'smooth') then
    -- In us. Starts are `every` us apart. One in twenty may come sooner, several at once; that makes the distance so much
    -- longer that no `span` has more than `max`. `full` is the time at which all starts so far would have been in step.
    local burst = 1 + math.floor(max / 20)
    local every = math.ceil(span * 1000 / (max - burst + 1))
    local full = redis.call('GET', smoothed)
    if full and not tonumber(full) then error('the time of the smoothed rate limit is not a number') end
    full = math.max(tonumber(full or 0), now * 1000)
    -- Further off than this limit can have put it: it was raised, or the clock was put back, and both begin anew.
    if full > now * 1000 + burst * every then full = now * 1000 end
    limit.free = math.min(limit.free, math.floor((now * 1000 + burst * every - full) / every))
    limit.every, limit.full, limit.early = every, full, (burst - 1) * every
    if limit.free == 0 then limit.wait = math.max(limit.wait, math.ceil((full - limit.early) / 1000) - now) end
  end
  return limit
end

-- Count the jobs that a claim took. Returns ms until another may start, 0 if one may now.
local function spend(limit, rows, now)
  local count = 0
  for _, row in ipairs(rows) do
    -- A job that is to fail without running is no start.
    if not row[8] then count = count + 1 end
  end
  if count == 0 then return limit.wait end
  if limit.begins then
    redis.call('SET', limit.limiter, count, 'PX', limit.ends)
  else
    redis.call('INCRBY', limit.limiter, count)
  end
  local wait = count < limit.window and 0 or limit.ends
  if limit.every then
    local full = limit.full + count * limit.every
    redis.call('SET', limit.smoothed, string.format('%.0f', full), 'PX', math.ceil(full / 1000) - now)
    wait = math.max(wait, math.ceil((full - limit.early) / 1000) - now)
  end
  return wait
end
