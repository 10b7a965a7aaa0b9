--[[
add_flow: put jobs that wait for each other in their queues, all or none: parents among the waiting, children in line.

MOVES    new -> wait, new -> paused, new -> prioritized, new -> delayed, new -> waiting-children
CAUSES   release_parents, merge_paused
EMITS    added, waiting, delayed, waiting-children, duplicated

KEYS
  jobs         prefix  of the keys of the first job's queue; those of all rows are to be in one slot of a cluster
ARGV
  now          int     ms, or empty for the server's time
ROWS
  queue        prefix  of the keys of the job's queue
  id           str     chosen by the producer, or empty for a number
  name         str
  data         bytes   JSON
  opts         bytes   JSON
  timestamp    int     ms, or empty for now
  delay        int     ms after that; of a job with children, from the moment on when they are done
  priority     int     1 first; 0 is none
  lifo         int     1: to the front, of the jobs without a priority
  parent       str     key of the job that waits for this one, or empty
  link         bytes   JSON: that job and what it makes of a failure, as it stands in the hash
  also         bytes   keys of further parents, one a line, or empty
  waits        int     1: the job has children among the rows, which follow it
RETURNS
  for each row the id of its job, or 0 if a job of its id was there already, which is left as it was but for its parent;
  or, with nothing written, two numbers: a row (from 0), and 5 its parent is not there, or 6 a job of its id is there and is the
  child of another. Sent again it adds jobs without an id anew, and finds the others there.
]]
local jobs = unpack(KEYS)

--@include clock
--@include read_limits
--@include emit
--@include check_types
--@include due
--@include merge_paused
--@include enqueue
--@include parent_keys
--@include release_parents
--@include insert_flow

local now = clock(ARGV[1])
local flow = release_parents(now)
-- Whatever the rows say, the queue that is named by the key.
if not flow.queue_of(jobs .. 'id') then error('a structure of a queue is not of its type') end
local plan, row, code = plan_flow(flow, ARGV, 2)
if not plan then return { row, code } end
return insert_flow(flow, ARGV, plan, now)
