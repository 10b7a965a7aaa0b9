-- The time in ms, as a number and as text: `now` where a test sends it, else the server's time.
local function clock(now)
  if now ~= '' then return tonumber(now), now end
  local time = redis.call('TIME')
  -- Seconds, then us without leading zeros.
  local text = time[1] .. string.sub('00000' .. time[2], -6, -4)
  return tonumber(text), text
end
