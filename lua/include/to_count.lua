-- A stored count by any producer as a whole number; 0 where it is missing, infinite, negative or not a number, as such a count would
-- never reach a limit.
local function to_count(text)
  local number = tonumber(text)
  return number and number >= 0 and number < 2 ^ 53 and number % 1 == 0 and number or 0
end
