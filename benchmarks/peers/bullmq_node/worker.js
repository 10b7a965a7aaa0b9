// BullMQ's worker, one for each queue, with a handler that obeys the data of the job.
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { Worker } = require('bullmq');
const { connect, say, nowUs, serve } = require('./orders.js');

const connection = connect();
let workers, running, wanted, handled, delays;

async function handle(job) {
  const asked = job.data;
  if (asked.sent !== undefined) delays.push(nowUs() - asked.sent);
  if (asked.due !== undefined) delays.push(nowUs() - asked.due);
  if (asked.burn !== undefined) burn(asked.burn);
  if (asked.sleep !== undefined) await sleep(asked.sleep / 1000);
  if (++handled === wanted) say({ handled });
  if (job.attemptsMade < asked.fail) throw new Error('fails as ordered');
}

function burn(us) {
  const before = process.cpuUsage();
  for (let spent = 0; spent < us; ) {
    const { user, system } = process.cpuUsage(before);
    spent = user + system;
  }
}

function options(order) {
  const chosen = { connection, autorun: false, concurrency: order.concurrency };
  if (order.keep !== null) chosen.removeOnComplete = { count: order.keep };
  if (order.lock !== undefined) chosen.lockDuration = order.lock;
  if (order.sweep !== undefined) chosen.stalledInterval = order.sweep;
  return chosen;
}

serve(async (order) => {
  if (order.do === 'ready') {
    [running, wanted, handled, delays] = [[], -1, 0, []];
    workers = order.queues.map((queue) => new Worker(queue, handle, options(order)));
    await Promise.all(workers.map((worker) => worker.waitUntilReady()));
    say({ ready: true });
  } else if (order.do === 'begin') {
    wanted = order.jobs;
    running = workers.map((worker) => worker.run());
  } else if (order.do === 'end') {
    await Promise.all(workers.map((worker) => worker.close()));
    await Promise.all(running);
    say({ ended: { handled, delays } });
  }
});
