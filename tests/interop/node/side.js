// A program on BullMQ that does as it is told: one JSON object a line in, one a line out.
//
//   {"id": 1, "make": "Queue", "as": "queue", "args": ["q", {}]}             an object of BullMQ's, by the name it gets here
//   {"id": 2, "on": "queue", "call": "add", "args": ["n", {"a": 1}]}         a method of it
//   {"id": 3, "on": "queue", "job": "7", "call": "promote", "args": []}      a method of one of its jobs
//   {"id": 4, "release": "7"}                                                lets a job that holds go on
//   {"id": 5, "reset": true}                                                 closes and forgets all objects; what they do late is not told
//
// Answers {"id": 1, "result": ...} or {"id": 1, "error": "..."}; tells {"from": "worker", "event": "completed", "args": [...]}.
// What a worker's job does, its data say: see `run`.
'use strict';

const readline = require('node:readline');
const bullmq = require('bullmq');

const connection = JSON.parse(process.argv[2]);
const things = new Map();
const held = new Map();
let resets = 0;

const TOLD = {
  Worker: ['active', 'completed', 'failed', 'stalled', 'error', 'progress', 'drained'],
  QueueEvents: [
    'added', 'waiting', 'active', 'completed', 'failed', 'delayed', 'progress', 'stalled', 'removed', 'duplicated', 'deduplicated',
    'debounced', 'waiting-children', 'retries-exhausted', 'cleaned', 'drained', 'paused', 'resumed', 'error',
  ],
};

const FIELDS = [
  'id', 'name', 'data', 'opts', 'progress', 'returnvalue', 'failedReason', 'stacktrace', 'attemptsMade', 'attemptsStarted', 'delay',
  'priority', 'timestamp', 'processedOn', 'finishedOn', 'processedBy', 'parent', 'parentKey', 'deduplicationId', 'repeatJobKey',
];

function say(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}

async function run(job, token) {
  const data = job.data ?? {};
  switch (data.do) {
    case 'throw':
      throw new Error(data.reason ?? 'boom');
    case 'give up':
      throw new bullmq.UnrecoverableError(data.reason ?? 'no use');
    case 'succeed later':
      if (job.attemptsMade < data.after) throw new Error('not yet');
      return data.value;
    case 'progress':
      await job.updateProgress(data.value);
      return null;
    case 'log':
      await job.log(data.value);
      return null;
    case 'hold':
      return new Promise((resolve) => held.set(job.id, () => resolve(data.value ?? null)));
    case 'nothing':
      return undefined;
    case 'children':
      return job.getChildrenValues();
    case 'limit':
      if (job.attemptsStarted > 1) return 'after the limit';
      await things.get(data.queue).rateLimit(data.ms);
      throw bullmq.Worker.RateLimitError();
    default:
      return typeof data === 'object' && 'value' in data ? data.value : data;
  }
}

function shown(value) {
  if (value instanceof bullmq.Job) {
    return Object.fromEntries(FIELDS.map((name) => [name, value[name] ?? null]));
  }
  if (value instanceof Error) return { message: value.message };
  if (value instanceof Map) return Object.fromEntries(value);
  if (Array.isArray(value)) return value.map(shown);
  if (value && typeof value === 'object' && value.job instanceof bullmq.Job) {
    return { job: shown(value.job), children: (value.children ?? []).map(shown) };
  }
  return value;
}

async function make({ make: kind, as: name, args }) {
  const last = args.length > 0 && typeof args[args.length - 1] === 'object' && args[args.length - 1] !== null ? args.pop() : {};
  const options = { connection, ...last };
  if (kind === 'Worker') args.push(run);
  // {"steps": 1000}: a strategy of that name, which waits so many ms for each attempt that was made.
  if (options.backoffs) options.settings = { backoffStrategy: (made, type) => options.backoffs[type] * made };
  const thing = new bullmq[kind](...args, options);
  things.set(name, thing);
  const since = resets;
  const tell = (event, told) => since === resets && say({ from: name, event, args: told.map(shown) });
  thing.on('error', (error) => tell('error', [error]));
  for (const event of TOLD[kind] ?? []) {
    if (event !== 'error') thing.on(event, (...told) => tell(event, told));
  }
  if (thing.waitUntilReady) await thing.waitUntilReady();
  return null;
}

async function call({ on, job: jobId, call: method, args, with: other }) {
  let target = things.get(on);
  if (jobId !== undefined) {
    target = await bullmq.Job.fromId(target, jobId);
    if (!target) throw new Error(`no job ${jobId}`);
  }
  if (other !== undefined) args.unshift(things.get(other));
  return shown(await target[method](...args));
}

async function reset() {
  const old = [...things.values()];
  resets += 1;
  things.clear();
  held.clear();
  // true: a worker does not wait for its jobs.
  await Promise.all(old.map((thing) => thing.close(true)));
  return null;
}

async function obey(order) {
  if (order.make) return make(order);
  if (order.release !== undefined) {
    if (!held.has(order.release)) throw new Error(`job ${order.release} does not hold`);
    held.get(order.release)();
    held.delete(order.release);
    return null;
  }
  return call(order);
}

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', async (line) => {
  const order = JSON.parse(line);
  if (order.reset) return say({ id: order.id, result: await reset() });
  const since = resets;
  const answer = (what) => since === resets && say({ id: order.id, ...what });
  try {
    answer({ result: (await obey(order)) ?? null });
  } catch (error) {
    answer({ error: String(error.message ?? error) });
  }
});
// Of an object that was closed in the middle of something.
process.on('unhandledRejection', (error) => console.error(error));
lines.on('close', () => process.exit(0));
