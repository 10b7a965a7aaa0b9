// How the Node programs hear orders and answer; benchmarks/side.py has the words.
'use strict';

const readline = require('node:readline');
const { Redis } = require('ioredis');

// One connection for all that a program does; BullMQ duplicates it where a call blocks.
function connect() {
  const url = new URL(process.argv[2]);
  const place = url.protocol === 'unix:'
    ? { path: decodeURIComponent(url.pathname) }
    : { host: url.hostname, port: Number(url.port || 6379) };
  return new Redis({ ...place, maxRetriesPerRequest: null });
}

const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');

const nowUs = () => Number(process.hrtime.bigint() / 1000n);

// Says ready, then takes one order after the other until the input is closed.
async function serve(carryOut) {
  const version = (name) => require(name + '/package.json').version;
  say({ ready: { node: process.version, bullmq: version('bullmq'), ioredis: version('ioredis') } });
  for await (const line of readline.createInterface({ input: process.stdin })) await carryOut(JSON.parse(line));
  process.exit(0);
}

module.exports = { connect, say, nowUs, serve };
