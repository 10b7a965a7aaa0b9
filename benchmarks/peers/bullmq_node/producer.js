// BullMQ's producer: add one by one, 100 at once, addBulk of 1,000.
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { Queue } = require('bullmq');
const { connection, say, nowUs, serve } = require('./orders.js');

const data = (n) => ({ n, text: 'x'.repeat(80) });

function* lots(jobs, size) {
  for (let first = 0; first < jobs; first += size) {
    yield Array.from({ length: Math.min(size, jobs - first) }, (_, i) => first + i);
  }
}

const ways = {
  async one(queue, jobs) {
    for (let n = 0; n < jobs; n++) await queue.add('job', data(n));
  },
  async 'at once'(queue, jobs) {
    for (const lot of lots(jobs, 100)) await Promise.all(lot.map((n) => queue.add('job', data(n))));
  },
  async bulk(queue, jobs) {
    for (const lot of lots(jobs, 1000)) await queue.addBulk(lot.map((n) => ({ name: 'job', data: data(n) })));
  },
};

async function pace(queue, jobs, rate) {
  const calls = [];
  const began = nowUs();
  for (let n = 0; n < jobs; n++) {
    await sleep(Math.max(0, (began + (n / rate) * 1e6 - nowUs()) / 1000));
    const sent = nowUs();
    await queue.add('job', { ...data(n), sent });
    calls.push(nowUs() - sent);
  }
  return calls;
}

serve(async (order) => {
  const queue = new Queue(order.queue, { connection: connection() });
  await queue.waitUntilReady();
  if (order.do === 'add') {
    const began = nowUs();
    await ways[order.way](queue, order.jobs);
    say({ seconds: (nowUs() - began) / 1e6 });
  } else if (order.do === 'pace') {
    say({ calls: await pace(queue, order.jobs, order.rate) });
  }
  await queue.close();
});
