// BullMQ's worker with a handler that does nothing.
'use strict';

const { Worker } = require('bullmq');
const { connection, say, nowUs, serve } = require('./orders.js');

let worker, running, wanted, handled, delays;

async function handle(job) {
  if (job.data.sent !== undefined) delays.push(nowUs() - job.data.sent);
  if (++handled === wanted) say({ handled });
}

serve(async (order) => {
  if (order.do === 'ready') {
    [wanted, handled, delays] = [-1, 0, []];
    const options = { connection: connection(), autorun: false, concurrency: order.concurrency };
    if (order.keep !== null) options.removeOnComplete = { count: order.keep };
    worker = new Worker(order.queue, handle, options);
    await worker.waitUntilReady();
    say({ ready: true });
  } else if (order.do === 'begin') {
    wanted = order.jobs;
    running = worker.run();
  } else if (order.do === 'end') {
    await worker.close();
    await running;
    say({ ended: { handled, delays } });
  }
});
