-- Whether a row may write to a job outside its run's end: the row names the claim that holds the job, or no claim (an empty token: a
-- producer or an operator). Returns 0, or a code as in check_claims.
local function check_write(jobs, active, id, token, fence)
  if token ~= '' then
    local _, _, refused = check_claims(jobs, active, { id, token, fence }, 1, 3)
    return refused[2] or 0
  end
  return job_exists(jobs, id) and 0 or 2
end
