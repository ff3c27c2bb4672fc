// The seat map: a grid of buttons that one tab stop leads to; the arrow keys
// move within it.
import { byId, el, setText } from './dom.js';
import { on } from './bus.js';
import { mineOf } from './mine.js';

let place = { slot: null, room: null };
let seats = new Map(); // id → {seat, button}
let lines = []; // rows of ids, as they stand in the room

// nameOf is what people call a seat.
export const nameOf = (seat) => `${seat.row}${seat.number}`;

export function startSeats(choose) {
  const map = byId('map');
  map.addEventListener('click', (event) => {
    const button = event.target.closest('button.seat');
    if (button) choose(seats.get(Number(button.dataset.id)).seat);
  });
  map.addEventListener('keydown', move);
  map.addEventListener('focusin', (event) => {
    if (event.target.classList.contains('seat')) makeStop(event.target);
  });
  map.addEventListener('animationend', (event) => event.target.classList.remove('changed'));
  on('seats', (news) => {
    if (Array.isArray(news)) update(news);
    else if (String(news.slot) === String(place.slot) && String(news.room) === String(place.room)) update(news.seats);
  });
}

// draw builds the map anew for a room at a time.
export function draw(slot, room, answer) {
  place = { slot, room: room.id };
  seats = new Map();
  const rows = new Map();
  for (const seat of answer.seats) {
    if (!rows.has(seat.row)) rows.set(seat.row, []);
    rows.get(seat.row).push(seat);
  }
  const letters = [...rows.keys()].sort((a, b) => a.length - b.length || a.localeCompare(b));
  const columns = Math.max(1, room.columns ?? 0, ...answer.seats.map((seat) => seat.number));
  const aisle = columns >= 6 ? Math.floor(columns / 2) : 0;
  const track = 'minmax(var(--seat-min), var(--seat-max))';
  const map = byId('map');
  map.style.setProperty('--tracks', aisle
    ? `var(--letter) repeat(${aisle}, ${track}) minmax(.4rem, 1.4rem) repeat(${columns - aisle}, ${track})`
    : `var(--letter) repeat(${columns}, ${track})`);
  lines = [];
  map.replaceChildren(...letters.map((letter) => {
    const line = rows.get(letter).sort((a, b) => a.number - b.number);
    lines.push(line.map((seat) => seat.id));
    return el('div', { role: 'row', class: 'row' },
      el('span', { class: 'letter', 'aria-hidden': 'true' }, letter),
      line.map((seat) => {
        const button = el('button', { type: 'button', class: 'seat', tabindex: -1, 'data-id': seat.id }, String(seat.number));
        const cell = el('div', { role: 'gridcell' }, button);
        cell.style.gridColumn = String(seat.number + 1 + (aisle && seat.number > aisle ? 1 : 0));
        seats.set(seat.id, { seat, button });
        return cell;
      }));
  }));
  map.setAttribute('aria-rowcount', String(letters.length));
  map.setAttribute('aria-colcount', String(columns));
  for (const { seat, button } of seats.values()) paint(seat, button);
  map.querySelector('button.seat')?.setAttribute('tabindex', '0');
  recount();
}

// update takes over what is known of some seats by now.
export function update(list) {
  for (const news of list ?? []) {
    const entry = seats.get(news.id);
    if (!entry) continue;
    const before = entry.seat;
    entry.seat = { ...before, ...news };
    paint(entry.seat, entry.button);
    if (Boolean(before.taken) !== Boolean(entry.seat.taken)) entry.button.classList.add('changed');
  }
  recount();
}

function paint(seat, button) {
  const mine = mineOf(place.slot, seat.id);
  const kind = mine ? (seat.taken ? 'mine' : 'stale') : seat.taken ? 'taken' : 'free';
  const said = {
    free: 'free', mine: 'yours', taken: seat.booked_by ? `taken by ${seat.booked_by}` : 'taken',
    stale: 'yours, but the last answer shows it as free: it is stale',
  }[kind];
  const label = `Seat ${nameOf(seat)}, ${said}`;
  button.dataset.kind = kind;
  if (button.getAttribute('aria-label') !== label) {
    button.setAttribute('aria-label', label);
    button.title = `${nameOf(seat)}: ${said}`;
  }
}

function recount() {
  let free = 0;
  for (const { seat } of seats.values()) if (!seat.taken) free++;
  setText(byId('count'), `${free} of ${seats.size} free`);
}

// free returns a seat that nobody has, none of those to avoid; null if there is none.
export function anyFree() {
  const list = [...seats.values()].map(({ seat }) => seat).filter((seat) => !seat.taken && !mineOf(place.slot, seat.id));
  return list[Math.floor(Math.random() * list.length)] ?? null;
}

// forgotten returns the seats that this page has booked and that an answer
// shows as free: whoever gave that answer had not seen the booking.
export const forgotten = (slot, list) => list.filter((seat) => !seat.taken && mineOf(slot, seat.id));

export const seatOf = (id) => seats.get(id)?.seat;
export function focusSeat(id) { seats.get(id)?.button.focus(); }
export function repaint() { for (const { seat, button } of seats.values()) paint(seat, button); }
export const currentPlace = () => place;

function makeStop(button) {
  byId('map').querySelector('button[tabindex="0"]')?.setAttribute('tabindex', '-1');
  button.setAttribute('tabindex', '0');
}

function move(event) {
  if (event.altKey || event.metaKey || !event.target.classList.contains('seat')) return;
  const id = Number(event.target.dataset.id);
  const row = lines.findIndex((line) => line.includes(id));
  const next = target(event, row, lines[row].indexOf(id));
  if (next === undefined) return;
  event.preventDefault();
  focusSeat(next);
}

function target(event, row, column) {
  const line = lines[row];
  const last = lines.length - 1;
  const near = (to) => lines[to][Math.min(column, lines[to].length - 1)];
  switch (event.key) {
    case 'ArrowLeft': return line[Math.max(column - 1, 0)];
    case 'ArrowRight': return line[Math.min(column + 1, line.length - 1)];
    case 'ArrowUp': return near(Math.max(row - 1, 0));
    case 'ArrowDown': return near(Math.min(row + 1, last));
    case 'Home': return event.ctrlKey ? lines[0][0] : line[0];
    case 'End': return event.ctrlKey ? lines[last].at(-1) : line.at(-1);
    case 'PageUp': return near(0);
    case 'PageDown': return near(last);
    default: return undefined;
  }
}
