-- Make the run of a schedule that is due at `time`, as a job of BullMQ's schedulers. `run` has: runs name data head priority lifo;
-- runs is what the ids of its runs begin with and head the job's options as JSON, both up to the time in its id. `k` names: wait
-- aside prioritized pc delayed marker jobs tell now, and `wake` says whether a claim could succeed.
local function make_run(k, schedule, time, run)
  local id, due = run.runs .. time, tonumber(time)
  local delay, moment = string.format('%.0f', math.max(0, due - k.now)), string.format('%.0f', k.now)
  redis.call('DEL', k.jobs .. id)
  redis.call('HSET', k.jobs .. id, 'name', run.name, 'data', run.data,
    'opts', run.head .. time .. '","prevMillis":' .. time .. ',"delay":' .. delay .. ',"timestamp":' .. moment .. '}',
    'timestamp', moment, 'delay', delay, 'priority', run.priority, 'rjk', schedule)
  k.emit('added', 'jobId', id, 'name', run.name)
  if delay ~= '0' then
    redis.call('ZADD', k.delayed, due_score(k.delayed, due, {}), id)
    mark_due(k.delayed, k.marker)
    k.emit('delayed', 'jobId', id, 'delay', time)
  else
    enqueue(k, { id }, { run.priority }, run.lifo == '1')
    if k.wake then redis.call('ZADD', k.marker, 0, '0') end
    k.emit('waiting', 'jobId', id)
  end
end
