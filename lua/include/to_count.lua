-- A count that any producer stored: a whole number, or 0 where there is none. What is infinite, broken or below 0 would never
-- reach a limit.
local function to_count(text)
  local number = tonumber(text)
  return number and number >= 0 and number < 2 ^ 53 and number % 1 == 0 and number or 0
end
