--[[
add: add new jobs: waiting, or delayed if they have a delay.

MOVES    new -> wait, new -> paused, new -> prioritized, new -> delayed
CAUSES   release_parents, deduplicate, merge_paused
EMITS    added, waiting, delayed, duplicated, deduplicated, debounced, removed

KEYS
  meta         hash    of the queue
  id           counter of the jobs ever added
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids of running jobs
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  delayed      zset    ids by due time
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  cap          int     largest size of one job's data, bytes
ROWS
  id           str     chosen by the producer, or empty for a number
  name         str
  data         bytes   JSON
  opts         bytes   JSON
  special      json    empty for a job of now, to the back of the waiting ones; else an object with: timestamp, ms, default now;
                       delay, ms after timestamp; priority, 1 first; lifo, true: to the front of the jobs without a priority;
                       de, the deduplication as BullMQ writes it: its id and options
RETURNS
  for each row the id of its job, or 0 if a job of its id exists, which is not changed, or 1 if another
  job owns its deduplication; after the rows, in their order, the ids of those owners;
  or, with nothing written, the number of the first row (from 0) whose data exceeds the cap
  Sent again it adds the jobs without an id or a deduplication a second time.
]]
local meta, counter, wait, paused, active, prioritized, pc, delayed, marker, events, jobs = unpack(KEYS)
local rows, stride = ARGV, 5
local call, text = redis.call, string.format

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include due
--@include merge_paused
--@include enqueue
--@include parent_keys
--@include release_parents
--@include delete_jobs
--@include remove_jobs
--@include deduplicate
--@include skip_parents

local cap = tonumber(rows[2])
local specials, has_delay, has_priority, has_deduplication = {}, false, false, false
for i = 3, #rows, stride do
  if #rows[i + 2] > cap then return (i - 3) / stride end
  if rows[i + 4] ~= '' then
    local special = cjson.decode(rows[i + 4])
    specials[i] = special
    has_delay, has_priority = has_delay or special.delay, has_priority or special.priority
    if special.de then
      has_deduplication = true
      -- A foreign type must raise before the first write.
      call('GET', jobs .. 'de:' .. special.de.id)
    end
  end
end
local is_paused, room, max_events, mode = read_limits(meta, active, true)
local emit, stream = emitter(events, max_events, mode)
local lists, zsets, counters = { wait }, {}, {}
if is_paused then lists[2] = paused end
if has_deduplication then lists[#lists + 1] = active end
if has_deduplication or has_delay then zsets[1] = delayed end
if has_deduplication or has_priority then zsets[#zsets + 1], counters[1] = prioritized, pc end
check_types(events, lists, zsets, marker, {}, counters)

local now, now_text = clock(rows[1])
local count = (#rows - 2) / stride
local number = call('INCRBY', counter, text('%d', count)) - count
if number == 0 then number = skip_parents(counter, jobs, count) end
local ids, scores, last = {}, {}, {}
local front, back, back_priorities = {}, {}, {}
local owners = {}
local queue = { wait = wait, paused_list = is_paused and paused, prioritized = prioritized, pc = pc, active = active, delayed = delayed,
  marker = marker, jobs = jobs, emit = emit, now = now }

local function flush()
  if #scores > 0 then
    redis.call('ZADD', delayed, unpack(scores))
    mark_due(delayed, marker)
  end
  -- Pushed one after the other: of several the last runs first, as if each had been added alone.
  if #front > 0 then push(queue, front, true) end
  if #back > 0 then enqueue(queue, back, back_priorities, false) end
  if #front + #back > 0 and not is_paused and room > 0 then call('ZADD', marker, '0', '0') end
  scores, front, back, back_priorities = {}, {}, {}, {}
end

for i = 3, #rows, stride do
  local id, name = rows[i], rows[i + 1]
  local timestamp, delay, priority, lifo, due = now_text, '0', '0', false, now
  local special, owner = specials[i], nil
  if special then
    if special.timestamp then due, timestamp = special.timestamp, text('%d', special.timestamp) end
    if special.delay then due, delay = due + special.delay, text('%d', special.delay) end
    if special.priority then priority = text('%d', special.priority) end
    lifo = special.lifo
  end
  number = number + 1
  local has_id = id ~= ''
  if not has_id then id = text('%d', number) end
  if has_id and redis.call('EXISTS', jobs .. id) == 1 then
    ids[#ids + 1] = 0
    emit('duplicated', 'jobId', id)
  else
    if special and special.de then
      -- The owner may be a job of this call.
      flush()
      owner = deduplicate(queue, special.de, { id = id, name = name, data = rows[i + 2], opts = rows[i + 3], delay = delay,
        due = due }, last)
    end
    if owner then
      ids[#ids + 1] = 1
      owners[#owners + 1] = owner
    else
      ids[#ids + 1] = id
      call('HSET', jobs .. id, 'name', name, 'data', rows[i + 2], 'opts', rows[i + 3],
        'timestamp', timestamp, 'delay', delay, 'priority', priority)
      if special and special.de then redis.call('HSET', jobs .. id, 'deid', special.de.id) end
      if i == 3 or not stream or #name > 4096 then
        emit('added', 'jobId', id, 'name', name)
      else
        call('XADD', stream, '*', 'event', 'added', 'jobId', id, 'name', name)
      end
      if delay ~= '0' then
        scores[#scores + 1] = due_score(delayed, due, last)
        scores[#scores + 1] = id
        emit('delayed', 'jobId', id, 'delay', text('%d', due))
      else
        if lifo and priority == '0' then
          front[#front + 1] = id
        else
          back[#back + 1] = id
          back_priorities[#back] = priority
        end
        if stream then call('XADD', stream, '*', 'event', 'waiting', 'jobId', id) end
      end
    end
  end
end
flush()
for _, owner in ipairs(owners) do ids[#ids + 1] = owner end
return ids
