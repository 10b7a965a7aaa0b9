--[[
add_plain: add new jobs that need nothing special: the fast form of add, without delay, priority, place, id or deduplication.

MOVES    new -> wait, new -> paused
CAUSES   merge_paused
EMITS    added, waiting

KEYS
  meta    hash    of the queue
  id      counter of the jobs ever added
  wait    list    ids without a priority
  paused  list    the same while the queue is paused
  active  list    ids of running jobs
  marker  zset    wakes idle workers
  events  stream
  jobs    prefix  of the job hashes; the script appends an id
ARGV
  now     int     ms, or empty for the server's time
  cap     int     largest size of one job's data, bytes
ROWS
  name    str     of at most 4 KiB: a larger one is counted in the event stream, by add
  data    bytes   JSON
  opts    bytes   JSON
RETURNS
  the id of the first job; the others have the numbers that follow
  or, with nothing written, -1 minus the number of the first row (from 0) whose data exceeds the cap
  Sent again it adds the jobs a second time.
]]
local meta, counter, wait, paused, active, marker, events, jobs = unpack(KEYS)
local rows, stride = ARGV, 3
local call, text = redis.call, string.format

--@include clock
--@include read_limits

local cap, count = tonumber(rows[2]), 0
for i = 3, #rows, stride do
  if #rows[i + 1] > cap then return -1 - count end
  count = count + 1
end
local is_paused, room, max_events, mode = read_limits(meta, active, true)
local has_events = mode == 'all'
-- Asked one by one: check_types, with its tables, takes the server longer than its questions.
if has_events then call('XLEN', events) end
call('LLEN', wait)
if is_paused then call('LLEN', paused) end
call('ZCARD', marker)

local _, now_text = clock(rows[1])
local number = call('INCRBY', counter, count == 1 and '1' or text('%d', count)) - count
if number == 0 then
--@include skip_parents
  number = skip_parents(counter, jobs, count)
end
local ids = {}
for n = 1, count do
  local i = n * stride
  local id, name = text('%d', number + n), rows[i]
  ids[n] = id
  call('HSET', jobs .. id, 'name', name, 'data', rows[i + 1], 'opts', rows[i + 2], 'timestamp', now_text, 'delay', '0', 'priority', '0')
  if has_events then
    -- The first event of each fifty jobs trims the stream, of which whole nodes of a hundred entries are removed.
    if n == 1 and number % 50 + count >= 50 then
      call('XADD', events, 'MAXLEN', '~', max_events, '*', 'event', 'added', 'jobId', id, 'name', name)
    else
      call('XADD', events, '*', 'event', 'added', 'jobId', id, 'name', name)
    end
    call('XADD', events, '*', 'event', 'waiting', 'jobId', id)
  end
end
if is_paused then
-- Included here, so that only a paused queue has to make these functions.
--@include merge_paused
--@include enqueue
  push({ wait = wait, paused_list = paused }, ids, false)
else
  call('LPUSH', wait, unpack(ids))
  if room > 0 then call('ZADD', marker, '0', '0') end
end
return number + 1
