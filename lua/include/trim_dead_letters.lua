-- Retention of dead letters: deletes those that are too old, and those beyond the newest ones, of the open and of the replayed letters,
-- at most `most` in all. `most` exceeds what a call writes, so that a backlog shrinks. `keep` is 'COUNT,SECONDS', see trim.
local function trim_dead_letters(jobs, now_text, keep, most)
  local count, age = string.match(keep, '^(%d*),(%d*)$')
  for _, name in ipairs({ 'open', 'replayed' }) do
    local index, excess = jobs .. 'corral:dead:' .. name, 0
    if age ~= '' then excess = redis.call('ZCOUNT', index, '-inf', string.format('%.0f', now_text - age * 1000)) end
    if count ~= '' then excess = math.max(excess, redis.call('ZCARD', index) - count) end
    local ids = excess > 0 and most > 0 and redis.call('ZRANGE', index, 0, math.min(excess, most) - 1) or {}
    most = most - #ids
    delete_dead_letters(jobs, ids)
  end
end
