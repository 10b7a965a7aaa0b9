// bull-board on the queues that it is told: its connection and their names are the argument, one JSON object.
// Says {"port": 40123} once it listens, on loopback, and ends with its standard input.
'use strict';

const express = require('express');
const { Queue } = require('bullmq');
const { createBullBoard } = require('@bull-board/api');
const { BullMQAdapter } = require('@bull-board/api/bullMQAdapter');
const { ExpressAdapter } = require('@bull-board/express');

const { connection, queues } = JSON.parse(process.argv[2]);
const serverAdapter = new ExpressAdapter();
createBullBoard({ queues: queues.map((name) => new BullMQAdapter(new Queue(name, { connection }))), serverAdapter });

const app = express();
app.use(serverAdapter.getRouter());
const server = app.listen(0, '127.0.0.1', () => process.stdout.write(JSON.stringify(server.address()) + '\n'));
process.stdin.on('close', () => process.exit(0)).resume();
