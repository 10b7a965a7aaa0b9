--[[
claim: take jobs in line for a worker, each with a lock of its own; delayed jobs that are due get in line first.

MOVES    wait -> active, prioritized -> active, delayed -> wait, delayed -> paused, delayed -> prioritized
EMITS    active, waiting, missing

KEYS
  meta         hash    of the queue
  wait         list    ids without a priority
  paused       list    the same while the queue is paused
  active       list    ids being run
  prioritized  zset    ids by priority
  pc           counter that keeps one priority first in, first out
  delayed      zset    ids by due time
  marker       zset    wakes idle workers
  events       stream
  jobs         prefix  of the job hashes; the script appends an id
ARGV
  now          int     ms, or empty for the server's time
  token        str     of this call: the value of every lock it sets
  lock         int     ms until a lock ends by itself
  worker       str     name shown as having processed the job
  count        int     jobs wanted at most
RETURNS
  the claimed rows (name data opts timestamp fence id, and of a job that is not fresh also progress defa priority atm stc
  stacktrace);
  ms until the next delayed job is due, or -1; 1 if more jobs wait, else 0
  Sent again with the same token it claims further jobs; `recover` finds those of a call whose reply was lost.
]]
local meta, wait, paused, active, prioritized, pc, delayed, marker, events, jobs = unpack(KEYS)
local now, token, lock_ms, worker, count = unpack(ARGV)

--@include clock
--@include gate
--@include tell
--@include sound
--@include place
--@include promote
--@include lock
--@include claim

now = clock(now)
local is_paused, room, kept = gate(meta, active)
local tell = teller(events, kept)
sound(events, is_paused and { wait, paused, active } or { wait, active }, { prioritized, delayed }, marker, {}, { pc })
local k = { wait = wait, active = active, prioritized = prioritized, pc = pc, delayed = delayed, marker = marker,
  tell = tell, jobs = jobs, list = is_paused and paused or wait }

local open = not is_paused and room > 0
local promoted, next_due = promote(k, now, open)
local rows, more = {}, false
if open then rows, more = claim(k, string.format('%d', now), token, lock_ms, worker, math.min(tonumber(count), room)) end
-- A worker that leaves work behind which another could claim wakes the next one.
more = more and room > #rows
if more then redis.call('ZADD', marker, 0, '0') end
return { rows, next_due, more and 1 or 0 }
