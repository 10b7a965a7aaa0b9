-- Adds the run of a schedule that is due at `time`, as a job of BullMQ's schedulers. `run` has name, data, priority, lifo; `prefix`, the
-- id of a run up to its time; `head`, the job's options as JSON up to the time in its id.
-- `queue` has what enqueue needs, delayed, marker, jobs, emit, now (ms), and `may_start`: whether a claim could succeed now.
local function make_run(queue, schedule, time, run)
  local id, due = run.prefix .. time, tonumber(time)
  local delay, now_text = string.format('%.0f', math.max(0, due - queue.now)), string.format('%.0f', queue.now)
  redis.call('DEL', queue.jobs .. id)
  redis.call('HSET', queue.jobs .. id, 'name', run.name, 'data', run.data,
    'opts', run.head .. time .. '","prevMillis":' .. time .. ',"delay":' .. delay .. ',"timestamp":' .. now_text .. '}',
    'timestamp', now_text, 'delay', delay, 'priority', run.priority, 'rjk', schedule)
  queue.emit('added', 'jobId', id, 'name', run.name)
  if delay ~= '0' then
    redis.call('ZADD', queue.delayed, due_score(queue.delayed, due, {}), id)
    mark_due(queue.delayed, queue.marker)
    queue.emit('delayed', 'jobId', id, 'delay', time)
  else
    enqueue(queue, { id }, { run.priority }, run.lifo == '1')
    if queue.may_start then redis.call('ZADD', queue.marker, 0, '0') end
    queue.emit('waiting', 'jobId', id)
  end
end
