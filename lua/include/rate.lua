-- Limits how fast jobs start: a hold that a job asked for, a fixed window of so many starts (BullMQ's), and beside it a smoothed limit.
-- Called only where one of them is set.

-- Returns false where nothing limits, else a table: `free` jobs may start now and, where that is 0, `wait` is ms until one may; the rest is
-- for count_starts. `limits` by read_limits; `worker_limit` is the worker's own limit, MAX,MS or empty. The queue's size of the
-- window wins over the worker's, the worker's duration over the queue's, as in BullMQ.
local function read_rate(meta, limiter, smoothed, limits, worker_limit, now)
  if limits and limits.hold and limits.hold > now then return { free = 0, wait = limits.hold - now } end
  local own_max, own_duration = string.match(worker_limit, '^(%d+),(%d+)$')
  local max = tonumber(limits and limits.max or own_max)
  local duration = tonumber(own_duration or limits and limits.duration)
  -- Foreign values that are not a limit are ignored.
  if not (max and duration and max >= 1 and math.abs(duration) < 1e15) then return false end
  max, duration = math.floor(max), math.max(1, math.floor(math.abs(duration)))

  local count, left = redis.call('GET', limiter), 0
  if count then
    count = tonumber(count)
    if not count then error('the counter of the rate limit is not a number') end
    left = redis.call('PTTL', limiter)
  end
  -- A window is over in its last ms, as in BullMQ. One without a time to live would never end.
  local begins = left <= 0
  local limit = { limiter = limiter, smoothed = smoothed, free = begins and max or math.max(0, max - count), wait = 0, begins = begins,
    ends = begins and duration or left }
  limit.window = limit.free
  if limit.free == 0 then limit.wait = left end

  local span = limits and limits.max and tonumber(limits.duration)
  if span and span >= 1 and redis.call('HGET', meta, 'smooth') then
    -- In us. Starts are `every` us apart. A burst of one in twenty may start early; `every` is longer by so much that no `span` has
    -- more than `max` starts. `full` is the time up to which the starts so far use the limit.
    local burst = 1 + math.floor(max / 20)
    local every = math.ceil(span * 1000 / (max - burst + 1))
    local full = redis.call('GET', smoothed)
    if full and not tonumber(full) then error('the time of the smoothed rate limit is not a number') end
    full = math.max(tonumber(full or 0), now * 1000)
    -- Later than this limit can have set it: the limit was raised, or the clock set back. Both start again from now.
    if full > now * 1000 + burst * every then full = now * 1000 end
    limit.free = math.min(limit.free, math.floor((now * 1000 + burst * every - full) / every))
    limit.every, limit.full, limit.early = every, full, (burst - 1) * every
    if limit.free == 0 then limit.wait = math.max(limit.wait, math.ceil((full - limit.early) / 1000) - now) end
  end
  return limit
end

-- Counts the jobs that a claim started. Returns ms until another may start, 0 if one may now.
local function count_starts(limit, count, now)
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
