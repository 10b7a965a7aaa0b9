-- The key `watch` stores what the server has seen of the workers' checks for stalled jobs: "SEEN GRACE DUE". SEEN: time of the last check,
-- ms. GRACE: for how many ms workers must go on checking before the next recovery. DUE: time of the next recovery, ms; 0: unknown.
local WATCH_KEPT = 3600000

-- What holds at this check: `grace` and `due`, and `is_stale`, whether it must be written. Without active jobs no grace is needed.
local function read_watch(watch, now, gap, grace, has_active)
  local text = redis.pcall('GET', watch)
  local at, left, due = string.match(type(text) == 'string' and text or '', '^(%d+) (%d+) (%d+)$')
  local seen = { grace = tonumber(left) or 0, due = due ~= '0' and tonumber(due) }
  local away = at and now - at or -1
  if away >= 0 and away <= gap then
    seen.grace = math.max(0, seen.grace - away)
  elseif seen.grace == 0 then
    seen.grace = grace
  end
  if not has_active then seen.grace = 0 end
  -- Not every check of hundreds of workers is written.
  seen.is_stale = away < 0 or away * 10 >= gap
  return seen
end

local function write_watch(watch, now, seen)
  -- PEXPIRE first: a full server refuses SET as the first write.
  redis.call('PEXPIRE', watch, WATCH_KEPT)
  redis.call('SET', watch, string.format('%.0f %.0f %.0f', now, seen.grace, seen.due or 0), 'PX', WATCH_KEPT)
end
