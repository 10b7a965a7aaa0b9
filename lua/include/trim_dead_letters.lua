-- Retention of dead letters: burn what is older and what is beyond the newest so many, of the open and of the replayed ones, at
-- most `most` in all: more than are written, so that it comes to an end. `keep` as in trim, ',' for no limit.
local function trim_dead_letters(jobs, moment, keep, most)
  local count, age = string.match(keep, '^(%d*),(%d*)$')
  for _, name in ipairs({ 'open', 'replayed' }) do
    local shelf, excess = jobs .. 'corral:dead:' .. name, 0
    if age ~= '' then excess = redis.call('ZCOUNT', shelf, '-inf', string.format('%.0f', moment - age * 1000)) end
    if count ~= '' then excess = math.max(excess, redis.call('ZCARD', shelf) - count) end
    local ids = excess > 0 and most > 0 and redis.call('ZRANGE', shelf, 0, math.min(excess, most) - 1) or {}
    most = most - #ids
    delete_dead_letters(jobs, ids)
  end
end
