// The service's HTTP interface: consistency level and token go out with each
// request, the route and a new token come back.
import { emit } from './bus.js';
import { keep, kept } from './storage.js';

const tokenHeader = 'Pgroute-Token';

// Refusal is any answer that is not a success; code is the service's word for
// it, or 'unreachable' when nothing answered.
export class Refusal extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

let level = kept('level') ?? '';
let token = kept('token') ?? '';

export const currentLevel = () => level;
export const currentToken = () => token;

// chooseLevel sets the level that each request asks for; '' leaves it to the
// central configuration.
export function chooseLevel(next) {
  level = next;
  keep('level', level);
  emit('level', level);
}

function rememberToken(next) {
  if (next === token) return;
  token = next;
  keep('token', token || null);
  emit('token', token);
}

// call makes one request and returns {body, route, status, waited}. Options:
//   label    what the log calls it; without one it is not logged
//   method, body, headers
//   level    instead of the page's; token: false sends neither token nor cookie
//   judge    (body) => a sentence if the answer is stale
//   patience milliseconds until the request is given up
export async function call(path, options = {}) {
  const started = performance.now();
  const record = { label: options.label, method: options.method ?? 'GET', at: new Date() };
  try {
    const answer = await exchange(path, options);
    record.status = answer.status;
    record.route = answer.route;
    record.stale = options.judge?.(answer.body) ?? '';
    return { ...answer, stale: record.stale };
  } catch (problem) {
    record.status = problem.status ?? 0;
    record.route = problem.route;
    record.problem = problem;
    throw problem;
  } finally {
    record.took = performance.now() - started;
    if (record.label) emit('answer', record);
  }
}

async function exchange(path, options, again = true) {
  const headers = new Headers(options.headers);
  const wanted = options.level ?? level;
  if (wanted) headers.set('X-Consistency', wanted);
  const sent = options.token === false ? '' : token;
  if (sent) headers.set(tokenHeader, sent);
  if (options.body !== undefined) headers.set('Content-Type', 'application/json');

  let response;
  let body;
  try {
    response = await fetch(path, {
      method: options.method ?? 'GET',
      headers,
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      credentials: options.token === false ? 'omit' : 'same-origin',
      cache: 'no-store',
      signal: AbortSignal.timeout(options.patience ?? 20000),
    });
    body = await readBody(response);
  } catch {
    throw new Refusal('No instance answered. It is safe to try again.', 0, 'unreachable');
  }
  const route = routeOf(response, body);
  if (response.ok) {
    if (options.token !== false) {
      const next = response.headers.get(tokenHeader) || body?.token;
      if (next) rememberToken(next);
    }
    return { body, route, status: response.status };
  }
  const code = body?.error?.code ?? '';
  if (code === 'bad_token' && sent) {
    // A token of another cluster, from before a restart perhaps. It promises
    // nothing here, so it is dropped, and the request runs without it.
    if (token === sent) rememberToken('');
    emit('bad-token');
    if (again) return exchange(path, options, false);
  }
  const refusal = new Refusal(body?.error?.message || plainWords(response.status), response.status, code);
  refusal.route = route;
  throw refusal;
}

async function readBody(response) {
  const text = await response.text();
  if (!text) return null;
  try { return JSON.parse(text); } catch { return null; }
}

function plainWords(status) {
  switch (status) {
    case 409: return 'Somebody was faster: the seat is taken.';
    case 502: case 503: case 504: return 'No instance can answer right now. Please try again in a moment.';
    default: return `The service answered with status ${status}.`;
  }
}

// routeOf reads who answered: from the body, else from the header X-Route.
function routeOf(response, body) {
  if (body?.route) return body.route;
  const header = response.headers.get('X-Route');
  if (!header) return null;
  const route = {};
  for (const field of header.split(/\s+/)) {
    const at = field.indexOf('=');
    if (at > 0) route[field.slice(0, at)] = field.slice(at + 1);
  }
  route.waited_ms = Number(route.waited_ms) || 0;
  return route;
}

// newKey returns an Idempotency-Key. randomUUID exists only where the page is
// secure (https or localhost); elsewhere the same is made from random bytes.
export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const random = crypto.getRandomValues(new Uint8Array(16));
  random[6] = (random[6] & 0x0f) | 0x40;
  random[8] = (random[8] & 0x3f) | 0x80;
  const hex = Array.from(random, (b) => b.toString(16).padStart(2, '0')).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
