-- Which claims still hold their jobs. Rows begin with id, token, fence. Reads only. Returns:
-- the start of each row that does; what its hash says (atm, deid, priority; parentKey and parent in the seventh and eighth
-- place), by that start; and for each row that does not, its number from 0 and a code: 1 lost (another claim has it, or none),
-- 2 missing (no such job), 3 already done by this claim, 4 doomed (with `made`: it ran while a child failed that it needs).
-- A lock that carries the token proves the claim, if the fence is right too. Without a lock, the owner in the hash decides:
-- the lock's end is only the sign of a death, and whoever is recorded keeps the job as long as nobody took it.
-- `made` is the place in a row of the atm that the claim read, of jobs that are to be completed; where a row has it, the hash is
-- asked for the fence alone, and for what others may have given the job since: a parent, or a reason to fail. Such a job may have
-- been given children too, without a word in its hash: 7 pending (with `made`: children that it needs are not done). For these
-- scripts one command asks for all that is rare: `stalled`, and open children of any of the jobs. A fourth value says then whether
-- `stalled` has members.
local function check_claims(jobs, active, rows, first, stride, made, stalled)
  local locks, seen, good, facts, refused = {}, {}, {}, {}, {}
  for i = first, #rows, stride do locks[#locks + 1] = jobs .. rows[i] .. ':lock' end
  if #locks == 0 then return good, facts, refused end
  local tokens = redis.call('MGET', unpack(locks))
  for n, holder in ipairs(tokens) do
    local i = first + (n - 1) * stride
    local id, token, code = rows[i], rows[i + 1], 0
    local job = made and holder == token and rows[i + made] ~= '' and redis.pcall('HMGET', jobs .. id, 'ats', 'parentKey', 'defa')
    if seen[id] then
      code = 3
    elseif job and job[1] == rows[i + 2] and not job[2] and not job[3] then
      facts[i] = { rows[i + made] }
    else
      job = redis.pcall('HMGET', jobs .. id, 'atm', 'deid', 'priority', 'ats', 'owner', 'finishedOn', 'parentKey', 'parent', 'defa', 'also')
      facts[i] = job
      if job.err or not job[4] then
        code = (job.err or redis.call('EXISTS', jobs .. id) == 1) and 1 or 2
      elseif job[4] ~= rows[i + 2] then
        code = 1
      elseif holder ~= token then
        if holder or job[5] ~= token then
          code = 1
        elseif job[6] then
          code = 3
        elseif not redis.call('LPOS', active, id) then
          code = 1
        end
      end
      -- A cancellation that came too late dooms nobody: what ran keeps its result.
      if code == 0 and made and job[9] and redis.call('ZCARD', jobs .. id .. ':unsuccessful') > 0 then code = 4 end
    end
    if code == 0 then
      seen[id] = true
      good[#good + 1] = i
    else
      refused[#refused + 1] = n - 1
      refused[#refused + 1] = code
    end
  end
  if not made or #good == 0 then return good, facts, refused end

  local rare = { stalled }
  for n, i in ipairs(good) do rare[n + 1] = jobs .. rows[i] .. ':dependencies' end
  local there = redis.call('EXISTS', unpack(rare))
  if there == 0 then return good, facts, refused, false end
  local suspects = redis.call('SCARD', stalled) > 0
  if there == (suspects and 1 or 0) then return good, facts, refused, suspects end
  local done = {}
  for n, i in ipairs(good) do
    -- pcall: a foreign key there is no set of children. A child that failed and is ignored may have let its parent run early.
    local open = redis.pcall('SCARD', rare[n + 1])
    if type(open) == 'number' and open > 0 and redis.call('EXISTS', jobs .. rows[i] .. ':failed') == 0 then
      refused[#refused + 1] = (i - first) / stride
      refused[#refused + 1] = 7
    else
      done[#done + 1] = i
    end
  end
  return done, facts, refused, suspects
end
