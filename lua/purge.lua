--[[
purge: delete dead letters.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
ROWS
  id           str     of the job
  at           int     time of the failure in the letter that the caller read, ms; empty for any
RETURNS
  how many letters were deleted. A letter of another failure than `at` stays.
  Sent again it deletes none.
]]
local jobs = unpack(KEYS)

--@include dead_letter_indexes
--@include read_dead_letter
--@include index_dead_letter
--@include delete_dead_letters

local deleted, seen = {}, {}
for i = 2, #ARGV, 2 do
  local one = read_dead_letter(jobs, ARGV[i])
  if one.at and not seen[one.id] and (ARGV[i + 1] == '' or ARGV[i + 1] == one.at) then
    deleted[#deleted + 1] = one.id
  end
  seen[one.id] = true
end
delete_dead_letters(jobs, deleted)
return #deleted
