--[[
add_flow: add jobs that wait for each other, in any queues, all or none: parents to waiting-children, their children waiting or delayed.

MOVES    new -> wait, new -> paused, new -> prioritized, new -> delayed, new -> waiting-children
CAUSES   release_parents, merge_paused
EMITS    added, waiting, delayed, waiting-children, duplicated

KEYS
  jobs         prefix  of the keys of the first job's queue; in a cluster, all rows' queues must share its slot
ARGV
  now          int     ms, or empty for the server's time
ROWS
  queue        prefix  of the keys of the job's queue
  id           str     chosen by the producer, or empty for a number
  name         str
  data         bytes   JSON
  opts         bytes   JSON
  timestamp    int     ms, or empty for now
  delay        int     ms after `timestamp`; of a job with children, ms after they are done
  priority     int     1 first; 0 is none
  lifo         int     1: to the front of the jobs without a priority
  parent       str     key of the parent, or empty
  link         bytes   JSON for the field `parent`: that job, and flags for a failure of this one
  also         bytes   keys of further parents, one a line, or empty
  waits        int     1: children of this job follow among the rows
RETURNS
  for each row the id of its job, or 0 if a job of its id exists, of which only the parent is changed;
  or, with nothing written, two numbers: a row (from 0), and 5 its parent does not exist, or 6 a job of its id exists and is the
  child of another. Sent again it adds the jobs without an id a second time, and finds the others.
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
-- The queue of the key is checked too, whether or not a row names it.
if not flow.queue_of(jobs .. 'id') then error('a structure of a queue is not of its type') end
local plan, row, code = plan_flow(flow, ARGV, 2)
if not plan then return { row, code } end
return insert_flow(flow, ARGV, plan, now)
