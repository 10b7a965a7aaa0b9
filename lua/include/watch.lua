-- What the server has seen of the workers' looks: "SEEN GRACE DUE" in `watch`. SEEN: when the last was, ms. GRACE: for how long workers
-- have to look before the next sweep, ms. DUE: when that is, or sooner (ms; 0: nobody knows).
local WATCH_KEPT = 3600000

-- What holds at this look; `stale`: it is to be noted. With no job `check_claims` by a worker no grace is needed.
local function looked(watch, now, gap, grace, held)
  local text = redis.pcall('GET', watch)
  local at, left, due = string.match(type(text) == 'string' and text or '', '^(%d+) (%d+) (%d+)$')
  local seen = { grace = tonumber(left) or 0, due = due ~= '0' and tonumber(due) }
  local away = at and now - at or -1
  if away >= 0 and away <= gap then
    seen.grace = math.max(0, seen.grace - away)
  elseif seen.grace == 0 then
    seen.grace = grace
  end
  if not held then seen.grace = 0 end
  -- Not each look of hundreds of workers.
  seen.stale = away < 0 or away * 10 >= gap
  return seen
end

local function note(watch, now, seen)
  -- PEXPIRE first: a full server refuses SET as the first write.
  redis.call('PEXPIRE', watch, WATCH_KEPT)
  redis.call('SET', watch, string.format('%.0f %.0f %.0f', now, seen.grace, seen.due or 0), 'PX', WATCH_KEPT)
end
