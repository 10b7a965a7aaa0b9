// BullMQ's part in the soak. `node soaker.js CONNECTION SETUP`, both JSON; SETUP says role, queue and ledger, a file.
//
// worker: works the queue off until SIGTERM; notes "start ID ATS PID" and "end ID ATS PID". `options`: the worker's.
// side:   notes every event of the stream in the ledger, "PLACE EVENT JOB VALUE", and obeys lines as side.js does:
//         {"id": 1, "call": "add", "args": [[[name, data, opts], ...]]}. Answers {"id": 1, "result": [ids]}.
'use strict';

const fs = require('node:fs');
const readline = require('node:readline');
const { setTimeout: sleep } = require('node:timers/promises');
const bullmq = require('bullmq');

const connection = JSON.parse(process.argv[2]);
const { role, queue: name, ledger, options } = JSON.parse(process.argv[3]);
const file = fs.openSync(ledger, 'a');

function note(...words) {
  fs.writeSync(file, words.join(' ') + '\n');
}

async function work(job) {
  const { act, ms, mark } = job.data;
  note('start', job.id, job.attemptsStarted, process.pid);
  await sleep(act === 'dawdle once' && job.attemptsStarted === 1 ? 1500 : ms);
  if (act === 'fail' || (act === 'fail once' && job.attemptsMade === 0)) throw new Error(act);
  note('end', job.id, job.attemptsStarted, process.pid);
  return mark;
}

class Reader extends bullmq.QueueEvents {
  // Whatever it tells passes here, also events that BullMQ has no name for. Those with a colon are the same once more.
  emit(event, ...told) {
    if (!event.includes(':') && event !== 'error') {
      const place = told[told.length - 1];
      const { jobId = '-', returnvalue } = told[0] ?? {};
      note(place, event, jobId, returnvalue === undefined ? '-' : JSON.stringify(returnvalue));
    }
    return super.emit(event, ...told);
  }
}

function runWorker() {
  const worker = new bullmq.Worker(name, work, { connection, ...options });
  worker.on('error', (error) => console.error(String(error)));
  process.on('SIGTERM', async () => {
    await worker.close();
    process.exit(0);
  });
}

function runSide() {
  const streams = { events: { maxLen: 1e8 } };
  const queue = new bullmq.Queue(name, { connection, streams });
  const flows = new bullmq.FlowProducer({ connection });
  const reader = new Reader(name, { connection, lastEventId: '0' });
  for (const one of [queue, flows, reader]) one.on('error', (error) => console.error(String(error)));
  const calls = {
    add: async (jobs) => {
      if (jobs.length === 1) return [(await queue.add(...jobs[0])).id];
      return (await queue.addBulk(jobs.map(([name, data, opts]) => ({ name, data, opts })))).map((job) => job.id);
    },
    addFamily: async (tree) => {
      const { job, children } = await flows.add(tree);
      return [job.id, ...children.map((child) => child.job.id)];
    },
    pause: () => queue.pause(),
    resume: () => queue.resume(),
  };
  const answer = (line) => process.stdout.write(JSON.stringify(line) + '\n');
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', async (line) => {
    const { id, call, args } = JSON.parse(line);
    try {
      answer({ id, result: (await calls[call](...args)) ?? null });
    } catch (error) {
      answer({ id, error: String(error.message ?? error) });
    }
  });
  lines.on('close', () => process.exit(0));
}

(role === 'worker' ? runWorker : runSide)();
