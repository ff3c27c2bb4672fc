'use strict';

// Hands the promise "whoever comes next sees at least what I wrote" from one
// connection to another, through pgroute. For pg (node-postgres).
//
// The writer calls follow(client) before client.connect(), and connects with
// options '-c pgroute.report_token=on' (or executes SET pgroute.report_token =
// on). After each write, await token(client) is a short text to be handed on:
// in a cookie, a header, a message. The reader calls await accept(client, text)
// before it reads.

const tokens = new WeakMap();

// follow keeps the token that comes with the answer to each write. pg itself
// keeps no parameters, so it has to be called before the first one.
function follow(client) {
  client.connection.on('parameterStatus', (message) => {
    if (message.parameterName === 'pgroute.token') tokens.set(client, message.parameterValue);
  });
  return client;
}

// reported returns the token of the last write, undefined if none came.
function reported(client) {
  return tokens.get(client);
}

// token returns a token of everything that the client has committed.
async function token(client) {
  const known = reported(client);
  if (known) return known;
  const { rows } = await client.query('SHOW pgroute.token');
  return Object.values(rows[0])[0];
}

// accept lets the client read nothing that is older than the token. A token
// that is foreign or forged rejects with code 22023.
async function accept(client, value) {
  if (!/^pgr1_[A-Za-z0-9_-]{48}$/.test(value)) throw new TypeError('malformed pgroute token');
  await client.query(`SET pgroute.token = '${value}'`);
}

module.exports = { follow, reported, token, accept };
