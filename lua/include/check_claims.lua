-- Slots of what check_claims reads from the hash of a job.
local ATM, DEID, PRIORITY, ATS, OWNER, FINISHED_ON, PARENT_KEY, PARENT, DEFA, ALSO = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10

-- Checks which rows still hold the jobs that they claimed. A row begins with id, token and fence. Reads only. Returns:
--   good: the index in `rows` of each row whose claim is valid
--   fields: by that index, fields of the job's hash, in the slots above; nothing of a row that took the short way
--   refused: for each other row its number from 0, then a code: 1 lost (another claim holds the job, or none does), 2 missing (no such
--     job), 3 done (this claim finished it before); with `made` also 4 doomed (a child failed that it needs) and 7 pending
--     (children that it needs are not done)
--   suspects: with `made`, whether the set `stalled` has members; locks: with `made` or `brief`, the lock keys of all rows
-- A lock that has the token proves the claim if the fence matches too. Without a lock, `owner` in the hash decides: an expired lock
-- only suggests that the worker died, and the owner keeps the job until another claim takes it.
-- `made` is given for jobs that are to be completed: the offset in a row of the `atm` that the claim read. A row that has it takes the
-- short way: only the fence is read, and what others may have written since: a parent, or a reason to fail. Children that were added
-- while the job ran leave nothing in its hash, so one EXISTS asks for those of all jobs, and for `stalled`.
-- `brief`: the caller needs no fields, so of a job whose lock has the token only the fence is read.
local function check_claims(jobs, active, rows, first, stride, made, stalled, brief)
  local call, attempt = redis.call, redis.pcall
  local keys, locks, rare, seen, good, fields, refused = {}, {}, { stalled }, {}, {}, {}, {}
  local count, good_count = 0, 0
  for i = first, #rows, stride do
    local key = jobs .. rows[i]
    count = count + 1
    keys[count], locks[count] = key, key .. ':lock'
    if made then rare[count + 1] = key .. ':dependencies' end
  end
  if count == 0 then return good, fields, refused end
  local holders = call('MGET', unpack(locks))
  for n = 1, count do
    local i, holder = first + (n - 1) * stride, holders[n]
    local id, token, code = rows[i], rows[i + 1], 0
    local short
    if holder == token then
      if brief then
        short = { attempt('HGET', keys[n], 'ats') }
      elseif made and rows[i + made] ~= '' then
        short = attempt('HMGET', keys[n], 'ats', 'parentKey', 'defa')
      end
    end
    if seen[id] then
      code = 3
    elseif not short or short[1] ~= rows[i + 2] or short[2] or short[3] then
      local job = attempt('HMGET', keys[n], 'atm', 'deid', 'priority', 'ats', 'owner', 'finishedOn', 'parentKey', 'parent', 'defa', 'also')
      fields[i] = job
      if job.err or not job[ATS] then
        code = (job.err or call('EXISTS', keys[n]) == 1) and 1 or 2
      elseif job[ATS] ~= rows[i + 2] then
        code = 1
      elseif holder ~= token then
        if holder or job[OWNER] ~= token then
          code = 1
        elseif job[FINISHED_ON] then
          code = 3
        elseif not call('LPOS', active, id) then
          code = 1
        end
      end
      -- `defa` alone is not enough: after a cancellation that came too late the job keeps its result.
      if code == 0 and made and job[DEFA] and call('ZCARD', keys[n] .. ':unsuccessful') > 0 then code = 4 end
    end
    if code == 0 then
      seen[id] = true
      good_count = good_count + 1
      good[good_count] = i
    else
      refused[#refused + 1] = n - 1
      refused[#refused + 1] = code
    end
  end
  if not made or good_count == 0 then return good, fields, refused, nil, brief and locks end

  local found = call('EXISTS', unpack(rare))
  if found == 0 then return good, fields, refused, false, locks end
  local suspects = call('SCARD', stalled) > 0
  if found == (suspects and 1 or 0) then return good, fields, refused, suspects, locks end
  local done = {}
  for _, i in ipairs(good) do
    local n = (i - first) / stride
    -- pcall: a foreign key is no set of children. Parents may run early because of a failed child that is ignored: `failed` exists then.
    local open = attempt('SCARD', rare[n + 2])
    if type(open) == 'number' and open > 0 and call('EXISTS', keys[n + 1] .. ':failed') == 0 then
      refused[#refused + 1] = n
      refused[#refused + 1] = 7
    else
      done[#done + 1] = i
    end
  end
  return done, fields, refused, suspects
end
