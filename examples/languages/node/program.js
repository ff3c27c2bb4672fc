'use strict';

// Writes through one pgroute and reads through another, and counts the reads
// that did not see the write before them.
//
// usage: program.js token|none LEVEL ROUNDS TABLE WRITER-URL READER-URL

const readline = require('node:readline/promises');
const { setTimeout: sleep } = require('node:timers/promises');
const { Client } = require('pg');
const pgroute = require('./pgroute-token.js');

// settle reads until replicas serve the reads. Drivers greet the primary with
// settings of their own, and pgroute has to learn of a new table before it
// takes a query of it for a read.
async function settle(client, table) {
  await client.query("SET pgroute.wait = '60s'");
  for (let inARow = 0; inARow < 2; ) {
    await client.query(`SELECT count(*) FROM ${table}`);
    const { rows } = await client.query('SHOW pgroute.last_route');
    if (rows[0].role === 'replica') {
      inARow++;
    } else {
      inARow = 0;
      await sleep(20);
    }
  }
  await client.query('RESET pgroute.wait');
}

async function main([mode, level, rounds, table, writerURL, readerURL]) {
  const writer = pgroute.follow(new Client({ connectionString: writerURL, options: '-c pgroute.report_token=on' }));
  const reader = new Client({ connectionString: readerURL });
  await writer.connect();
  await reader.connect();
  await reader.query(`SET pgroute.consistency = ${level}`);
  await settle(reader, table);
  console.log('connected');
  const input = readline.createInterface({ input: process.stdin });
  await new Promise((resolve) => input.once('line', resolve));
  input.close();

  let stale = 0;
  for (let n = 0; n < Number(rounds); n++) {
    await writer.query(`INSERT INTO ${table} VALUES ($1)`, [n]);
    if (mode === 'token') await pgroute.accept(reader, await pgroute.token(writer));
    const { rows } = await reader.query(`SELECT count(*)::int AS seen FROM ${table} WHERE n = $1`, [n]);
    if (rows[0].seen === 0) stale++;
  }
  console.log('reported', pgroute.reported(writer) !== undefined);
  console.log('stale', stale);
  await writer.end();
  await reader.end();
}

main(process.argv.slice(2)).catch((err) => {
  console.error(err);
  process.exit(1);
});
