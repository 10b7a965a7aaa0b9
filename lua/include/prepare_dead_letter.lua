-- A dead letter to be written: where it stands (see read_dead_letter), `fields` of its record, `old` the job's letter of an earlier failure.
-- Nil where there is no such job, or where something else is at the record's place. What the caller gives as nil is read from the
-- job's hash: `at` the time of the failure, the reason, the stack traces, the attempts made. Reads only.
local function prepare_dead_letter(jobs, id, error_name, tenant, at, reason, stacktrace, made)
  local job = redis.pcall('HMGET', jobs .. id, 'name', 'data', 'opts', 'timestamp', 'priority', 'ats', 'stc', 'pb', 'processedOn',
    'finishedOn', 'failedReason', 'stacktrace', 'atm')
  if job.err or not job[1] then return nil end
  local old = read_dead_letter(jobs, id)
  at = at or job[10]
  if old.foreign or not at then return nil end
  local fields = {}
  local function say(name, value)
    if value and value ~= '' then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  for n, name in ipairs({ 'name', 'data', 'opts', 'timestamp', 'priority', 'ats', 'stc', 'pb', 'processedOn' }) do say(name, job[n]) end
  say('finishedOn', at)
  say('failedReason', reason or job[11])
  say('stacktrace', stacktrace or job[12])
  say('atm', made or job[13])
  say('error', error_name)
  say('tenant', tenant)
  say('times', (old.times or 0) + 1)
  return { id = id, at = at, type = job[1], error = error_name, tenant = tenant, fields = fields, old = old }
end
