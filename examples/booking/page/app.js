// The page: which room and time, and how its parts are joined.
import { byId, el, notify, plural } from './dom.js';
import { call } from './api.js';
import { draw, forgotten, nameOf, startSeats, update } from './seats.js';
import { choose, startBooking } from './book.js';
import { refresh, startNodes } from './nodes.js';
import { startLevels } from './levels.js';
import { startRoutes } from './routes.js';
import { startTrials } from './trials.js';
import { follow } from './live.js';
import { on } from './bus.js';

let slots = [];
let rooms = [];
let slot = null;
let room = null;
let drawn = '';
let turn = 0;

const day = new Intl.DateTimeFormat('en-GB', { weekday: 'short', day: 'numeric', month: 'short' });
const hour = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });

function when(id) {
  const found = slots.find((each) => each.id === id);
  if (!found) return '';
  const starts = new Date(found.starts);
  return `${day.format(starts)}, ${hour.format(starts)}–${hour.format(new Date(found.ends))}`;
}

// reread reads the seats of the chosen room and time. An answer that a newer
// question has overtaken is dropped.
async function reread(label = 'read the seats') {
  const mine = ++turn;
  const asked = { slot, room };
  try {
    const { body, stale } = await call(`/api/seats?slot=${encodeURIComponent(slot)}&room=${encodeURIComponent(room.id)}`, {
      label, judge: (answer) => judge(asked.slot, answer),
    });
    if (mine !== turn) return;
    const key = `${asked.slot}:${asked.room.id}`;
    if (drawn === key) update(body.seats);
    else draw(asked.slot, asked.room, body);
    drawn = key;
    if (stale) notify(`This answer is stale: it ${stale}.`);
  } catch (problem) {
    if (mine === turn) notify(problem.message, 'bad');
  }
}

function judge(at, answer) {
  const missing = forgotten(at, answer?.seats ?? []);
  if (missing.length === 0) return '';
  return missing.length === 1 ? `shows your ${nameOf(missing[0])} as free` : `shows ${plural(missing.length, 'seat')} of yours as free`;
}

async function pick() {
  slot = slots[byId('slot-select').selectedIndex].id;
  room = rooms[byId('room-select').selectedIndex];
  history.replaceState(null, '', `?room=${encodeURIComponent(room.id)}&slot=${encodeURIComponent(slot)}`);
  await reread();
  follow(slot, room.id);
}

// load asks for rooms and times until an instance answers.
async function load() {
  for (let pause = 500; ; pause = Math.min(pause * 2, 8000)) {
    try {
      const [offer] = await Promise.all([call('/api/slots'), refresh()]);
      return offer.body;
    } catch (problem) {
      notify(problem.message, 'bad');
      await new Promise((resolve) => { setTimeout(resolve, pause); });
    }
  }
}

async function start() {
  startRoutes();
  startNodes();
  startSeats(choose);
  startBooking({ when, reread });
  startLevels(reread);
  startTrials(() => reread('read after it'));
  byId('again').addEventListener('click', () => reread('read again'));

  const offer = await load();
  slots = offer.slots;
  rooms = offer.rooms;
  if (!slots.length || !rooms.length) {
    notify('There are no rooms yet. Run: booking init', 'bad');
    return;
  }
  const wanted = new URLSearchParams(location.search);
  const now = Date.now();
  const open = slots.find((each) => Date.parse(each.starts) > now);
  const first = slots.find((each) => String(each.id) === wanted.get('slot')) ?? open ?? slots[0];
  byId('slot-select').append(...slots.map((each) => el('option', { value: each.id, selected: each === first },
    when(each.id) + (Date.parse(each.starts) <= now ? ' (past)' : ''))));
  byId('room-select').append(...rooms.map((each) => el('option', { value: each.id, selected: String(each.id) === wanted.get('room') }, each.name)));
  byId('slot-select').addEventListener('change', pick);
  byId('room-select').addEventListener('change', pick);
  await pick();

  // After a lost connection some changes were missed: read again.
  let lost = false;
  on('live', (live) => {
    if (live === 'on' && lost) reread('read after reconnecting');
    lost = live === 'off';
  });
}

start();
