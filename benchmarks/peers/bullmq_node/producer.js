// BullMQ's producer: add one by one, 100 at once, addBulk of 1,000, or at a pace.
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { Queue } = require('bullmq');
const { connect, say, nowUs, serve } = require('./orders.js');

const connection = connect();
const queues = new Map();

async function open(name) {
  if (!queues.has(name)) queues.set(name, new Queue(name, { connection }));
  const queue = queues.get(name);
  await queue.waitUntilReady();
  return queue;
}

const data = (n, order) => ({ n, text: 'x'.repeat(80), ...order.data });

function* lots(jobs, size) {
  for (let first = 0; first < jobs; first += size) {
    yield Array.from({ length: Math.min(size, jobs - first) }, (_, i) => first + i);
  }
}

const ways = {
  async one(queue, order) {
    for (let n = 0; n < order.jobs; n++) await queue.add('job', data(n, order), order.options);
  },
  async 'at once'(queue, order) {
    for (const lot of lots(order.jobs, 100)) {
      await Promise.all(lot.map((n) => queue.add('job', data(n, order), order.options)));
    }
  },
  async bulk(queue, order) {
    for (const lot of lots(order.jobs, 1000)) {
      await queue.addBulk(lot.map((n) => ({ name: 'job', data: data(n, order), opts: order.options })));
    }
  },
};

async function pace(queue, order) {
  const calls = [];
  const underWay = new Set();
  const call = async (n) => {
    const sent = nowUs();
    await queue.add('job', { ...data(n, order), sent });
    calls[n] = nowUs() - sent;
  };
  const began = nowUs();
  for (let n = 0; n < order.jobs; n++) {
    const early = began + (n / order.rate) * 1e6 - nowUs();
    if (early > 0) await sleep(early / 1000);
    while (underWay.size >= 100) await Promise.race(underWay);
    const calling = call(n).then(() => underWay.delete(calling));
    underWay.add(calling);
  }
  await Promise.all(underWay);
  return calls;
}

serve(async (order) => {
  const queue = await open(order.queue);
  if (order.do === 'add') {
    const began = nowUs();
    await ways[order.way](queue, order);
    say({ seconds: (nowUs() - began) / 1e6 });
  } else if (order.do === 'pace') {
    say({ calls: await pace(queue, order) });
  } else if (order.do === 'waiting') {
    say({ waiting: await queue.getWaitingCount() });
  }
});
