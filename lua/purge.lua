--[[
purge: delete dead letters.

MOVES    none
EMITS    none

KEYS
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
ROWS
  id           str     of the job whose letter it is
  at           int     time of its failure as the caller read it, ms; empty for any
RETURNS
  how many letters were deleted; not those of a later failure
  Sent again it deletes none.
]]
local jobs = unpack(KEYS)

--@include shelves
--@include letter
--@include shelve
--@include burn

local gone, seen = {}, {}
for i = 2, #ARGV, 2 do
  local one = letter(jobs, ARGV[i])
  if one.at and not seen[one.id] and (ARGV[i + 1] == '' or ARGV[i + 1] == one.at) then
    gone[#gone + 1] = one.id
  end
  seen[one.id] = true
end
burn(jobs, gone)
return #gone
