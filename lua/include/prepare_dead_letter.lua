-- Reads what the dead letter of a job will hold: id, at, type, error, tenant, `fields` of its record, and `old`, the job's letter of an
-- earlier failure. Nil where there is no such job, or the record's key has a foreign type. What the caller passes as nil is
-- read from the job's hash: the time of the failure, the reason, the stack traces, the attempts made. Reads only.
local function prepare_dead_letter(jobs, id, error_name, tenant, at, reason, stacktrace, made)
  local job = redis.pcall('HMGET', jobs .. id, 'name', 'data', 'opts', 'timestamp', 'priority', 'ats', 'stc', 'pb', 'processedOn',
    'finishedOn', 'failedReason', 'stacktrace', 'atm')
  if job.err or not job[1] then return nil end
  local old = read_dead_letter(jobs, id)
  at = at or job[10]
  if old.foreign or not is_time(at) then return nil end
  local fields = {}
  local function add_field(name, value)
    if value and value ~= '' then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  for n, name in ipairs({ 'name', 'data', 'opts', 'timestamp', 'priority', 'ats', 'stc', 'pb', 'processedOn' }) do add_field(name, job[n]) end
  add_field('finishedOn', at)
  add_field('failedReason', reason or job[11])
  add_field('stacktrace', stacktrace or job[12])
  add_field('atm', made or job[13])
  add_field('error', error_name)
  add_field('tenant', tenant)
  add_field('times', (old.times or 0) + 1)
  return { id = id, at = at, type = job[1], error = error_name, tenant = tenant, fields = fields, old = old }
end
