// What a program does with node-postgres, one step after the other, reported in
// TAP. It reads the connection from the environment, as libpq's programs do.
'use strict';
const assert = require('assert');
const { Client, Pool } = require('pg');

const steps = [];
const step = (name, run) => steps.push({ name, run });
const connect = async (options) => {
  const client = new Client(options);
  await client.connect();
  return client;
};

step('a table is made and filled', async () => {
  const c = await connect();
  await c.query('CREATE TABLE n (id int PRIMARY KEY, v text, j jsonb, t timestamptz)');
  for (let i = 0; i < 100; i++) await c.query('INSERT INTO n VALUES ($1, $2, $3, $4)', [i, 'v' + i, { i }, new Date(0)]);
  const { rows } = await c.query('SELECT count(*)::int AS n FROM n');
  assert.strictEqual(rows[0].n, 100);
  await c.end();
});
step('types come back as they went', async () => {
  const c = await connect();
  const { rows } = await c.query('SELECT $1::int4 a, $2::int8 b, $3::float8 c, $4::bool d, $5::bytea e, $6::text[] f, $7::jsonb g, $8::timestamptz h, $9::text i',
    [7, '9007199254740993', 1.5, true, Buffer.from([0, 1, 255]), ['a', 'b,c', null], { x: [1] }, new Date(1e12), null]);
  assert.deepStrictEqual(rows[0], { a: 7, b: '9007199254740993', c: 1.5, d: true, e: Buffer.from([0, 1, 255]), f: ['a', 'b,c', null], g: { x: [1] }, h: new Date(1e12), i: null });
  await c.end();
});
step('named statements are prepared once and run often', async () => {
  const c = await connect();
  for (let i = 0; i < 20; i++) {
    const { rows } = await c.query({ name: 'by id', text: 'SELECT v FROM n WHERE id = $1', values: [i] });
    assert.strictEqual(rows[0].v, 'v' + i);
  }
  await c.end();
});
step('a named statement goes on after its table has changed', async () => {
  const c = await connect();
  const q = { name: 'ids', text: 'SELECT id FROM n ORDER BY id LIMIT 1', values: [] };
  await c.query(q);
  await c.query('ALTER TABLE n ADD COLUMN extra int');
  assert.strictEqual((await c.query(q)).rows[0].id, 0);
  await c.end();
});
step('a transaction is rolled back', async () => {
  const c = await connect();
  await c.query('BEGIN');
  await c.query('DELETE FROM n');
  await c.query('ROLLBACK');
  assert.strictEqual((await c.query('SELECT count(*)::int AS n FROM n')).rows[0].n, 100);
  await c.end();
});
step('an error has its fields, and the connection goes on', async () => {
  const c = await connect();
  await assert.rejects(c.query('INSERT INTO n (id) VALUES ($1)', [1]), (e) => e.code === '23505' && e.table === 'n' && e.constraint === 'n_pkey');
  await assert.rejects(c.query('SELECT nothing FROM n'), (e) => e.code === '42703' && e.position === '8');
  assert.strictEqual((await c.query('SELECT 1 AS x')).rows[0].x, 1);
  await c.end();
});
step('several statements in one query give several results', async () => {
  const c = await connect();
  const results = await c.query('SELECT 1 AS a; SELECT 2 AS b; UPDATE n SET v = v WHERE id < 3');
  assert.deepStrictEqual(results.map((r) => [r.command, r.rowCount]), [['SELECT', 1], ['SELECT', 1], ['UPDATE', 3]]);
  await c.end();
});
step('notifications arrive', async () => {
  const [a, b] = [await connect(), await connect()];
  await a.query('LISTEN news');
  const arrived = new Promise((resolve) => a.on('notification', resolve));
  await b.query("SELECT pg_notify('news', 'hello')");
  const message = await arrived;
  assert.deepStrictEqual([message.channel, message.payload], ['news', 'hello']);
  await a.end();
  await b.end();
});
step('notices arrive', async () => {
  const c = await connect();
  const arrived = new Promise((resolve) => c.on('notice', resolve));
  await c.query("DO $$ BEGIN RAISE NOTICE 'look'; END $$");
  assert.strictEqual((await arrived).message, 'look');
  await c.end();
});
step('settings stay with their client', async () => {
  const pool = new Pool({ max: 8 });
  const clients = await Promise.all(Array.from({ length: 8 }, () => pool.connect()));
  await Promise.all(clients.map((c, i) => c.query(`SET application_name = 'client ${i}'`)));
  for (let round = 0; round < 5; round++) {
    await Promise.all(clients.map(async (c, i) => {
      assert.strictEqual((await c.query("SELECT current_setting('application_name') AS n")).rows[0].n, 'client ' + i);
    }));
  }
  clients.forEach((c) => c.release());
  await pool.end();
});
step('temporary tables stay with their client', async () => {
  const clients = await Promise.all(Array.from({ length: 4 }, () => connect()));
  await Promise.all(clients.map((c, i) => c.query(`CREATE TEMP TABLE mine AS SELECT ${i} AS who`)));
  for (const [i, c] of clients.entries()) assert.strictEqual((await c.query('SELECT who FROM mine')).rows[0].who, i);
  await Promise.all(clients.map((c) => c.end()));
});
step('what one connection of a pool wrote another one reads', async () => {
  const pool = new Pool({ max: 5 });
  for (let i = 0; i < 100; i++) {
    await pool.query('UPDATE n SET v = $1 WHERE id = 5', ['w' + i]);
    const seen = await Promise.all(Array.from({ length: 3 }, () => pool.query('SELECT v FROM n WHERE id = 5')));
    for (const s of seen) assert.strictEqual(s.rows[0].v, 'w' + i);
  }
  await pool.end();
});
step('queries that are queued come back in order', async () => {
  const c = await connect();
  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => c.query('SELECT $1::int AS i', [i])));
  answers.forEach((a, i) => assert.strictEqual(a.rows[0].i, i));
  await c.end();
});
step('large values go both ways', async () => {
  const c = await connect();
  const large = 'x'.repeat(3 << 20);
  assert.strictEqual((await c.query('SELECT $1::text AS v', [large])).rows[0].v, large);
  assert.strictEqual((await c.query('SELECT g, repeat(g::text, 50) FROM generate_series(1, 20000) g')).rowCount, 20000);
  await c.end();
});
step('a statement timeout is an error of its own', async () => {
  const c = await connect({ statement_timeout: 100 });
  await assert.rejects(c.query('SELECT pg_sleep(60)'), (e) => e.code === '57014');
  await c.end();
});
step('a query is cancelled', async () => {
  const [a, b] = [await connect(), await connect()];
  const { rows } = await a.query('SELECT pg_backend_pid() AS pid');
  const running = assert.rejects(a.query('SELECT pg_sleep(60)'), (e) => e.code === '57014');
  let done = false;
  while (!done) done = (await b.query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND query LIKE '%pg_sleep%' AND state = 'active'", [rows[0].pid])).rowCount > 0;
  await running;
  await a.end();
  await b.end();
});

(async () => {
  console.log(`1..${steps.length}`);
  for (const [i, s] of steps.entries()) {
    try {
      await s.run();
      console.log(`ok ${i + 1} - ${s.name}`);
    } catch (e) {
      console.log(`not ok ${i + 1} - ${s.name}`);
      console.log(String(e.stack).replace(/^/gm, '# '));
    }
  }
  process.exit(0);
})();
