// Live updates by server-sent events. The browser reconnects by itself after a
// broken connection, but not after a refusal: then we do, and wait longer each
// time.
import { emit, on } from './bus.js';

let source = null;
let timer = 0;
let pause = 500;
let where = '';
let state = null;

// currentState is the last state that arrived, null before the first.
export const currentState = () => state;

export function setState(next) {
  state = next;
  emit('state', next);
}

// follow asks for the events of one room and slot from now on.
export function follow(slot, room) {
  where = `/api/events?slot=${encodeURIComponent(slot)}&room=${encodeURIComponent(room)}`;
  connect();
}

function connect() {
  clearTimeout(timer);
  source?.close();
  const mine = new EventSource(where);
  source = mine;
  mine.addEventListener('open', () => {
    pause = 500;
    emit('live', 'on');
  });
  mine.addEventListener('seats', (event) => emit('seats', JSON.parse(event.data)));
  mine.addEventListener('state', (event) => setState(JSON.parse(event.data)));
  mine.addEventListener('error', () => {
    emit('live', 'off');
    if (mine !== source || mine.readyState !== EventSource.CLOSED) return;
    timer = setTimeout(connect, pause);
    pause = Math.min(pause * 2, 8000);
  });
}

// A browser may freeze a hidden page and its connections: look again at once.
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && where && source?.readyState === EventSource.CLOSED) connect();
});

// until resolves when a state satisfies the condition: true; or after the
// patience (milliseconds): false.
export function until(condition, patience) {
  return new Promise((resolve) => {
    if (state && condition(state)) { resolve(true); return; }
    const end = (value) => {
      clearTimeout(limit);
      off();
      resolve(value);
    };
    const off = on('state', (next) => { if (condition(next)) end(true); });
    const limit = setTimeout(end, patience, false);
  });
}
