--[[
write_dead_letters: write missing dead letters of failed jobs, such as jobs that BullMQ workers failed.

MOVES    none
CAUSES   none
EMITS    none

KEYS
  failed       zset    ids by finish time, ms
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
ROWS
  id           str
  error        str     class of the error; empty: unknown
  tenant       str     empty: none
RETURNS
  how many letters were written. A job that has not failed, or whose last failure has its letter, is skipped.
  Sent again it writes none: neither a lost reply nor a second operator adds a letter.
]]
local failed, jobs = unpack(KEYS)

--@include dead_letter_indexes
--@include read_dead_letter
--@include index_dead_letter
--@include prepare_dead_letter
--@include write_dead_letters

local drafts, seen = {}, {}
for i = 2, #ARGV, 3 do
  local id = ARGV[i]
  if not seen[id] and redis.call('ZSCORE', failed, id) then
    local one = prepare_dead_letter(jobs, id, ARGV[i + 1], ARGV[i + 2])
    if one and one.old.at ~= one.at then drafts[#drafts + 1] = one end
  end
  seen[id] = true
end
write_dead_letters(jobs, drafts, check_dead_letter_types(jobs, drafts))
return #drafts
