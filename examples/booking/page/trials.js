// The two experiments: what each level knows of a fresh booking, and a hundred
// users who want the same seat.
import { byId, el, hidden, milliseconds, notify, plural, say } from './dom.js';
import { badge, mark } from './identity.js';
import { call, newKey } from './api.js';
import { anyFree, currentPlace, nameOf } from './seats.js';
import { bookSeat } from './book.js';
import { hold, replicas } from './nodes.js';
import { currentState, until } from './live.js';

const rounds = 6;
const levels = ['eventual', 'session', 'strong', 'primary'];
const crowd = 100;

// startTrials: reread reads the seats again.
export function startTrials(reread) {
  run('difference', 'difference-result', compare, reread);
  run('fight', 'fight-result', fight, reread);
}

function run(button, result, trial, reread) {
  byId(button).addEventListener('click', async () => {
    if (byId(button).getAttribute('aria-disabled') === 'true') return;
    byId(button).setAttribute('aria-disabled', 'true');
    byId(result).setAttribute('aria-busy', 'true');
    try {
      const seat = anyFree();
      if (!seat) throw new Error('Every seat here is taken. Please choose another room or time.');
      await trial(byId(result), seat);
    } catch (problem) {
      byId(result).replaceChildren(el('p', { class: 'problem' }, problem.message));
      notify(problem.message, 'bad');
    } finally {
      byId(button).removeAttribute('aria-disabled');
      byId(result).removeAttribute('aria-busy');
      reread();
    }
  });
}

async function compare(result, seat) {
  const { slot, room } = currentPlace();
  const late = replicas()[0];
  const progress = (text) => result.replaceChildren(el('p', { class: 'progress' }, text));
  const held = late && !(late.paused || late.late);
  if (held) {
    progress(`Holding ${late.name} back…`);
    await hold(late.name, true);
    await until((state) => state.nodes.some((node) => node.name === late.name && (node.paused || node.late)), 5000);
  }
  try {
    progress(`Booking ${nameOf(seat)}…`);
    await bookSeat(slot, seat, 'Comparison', newKey());
    const asked = new Set();
    const through = el('span', {});
    const rows = levels.map((level) => ({ level, cells: el('span', { class: 'looks' }), sum: el('span', { class: 'sum' }), stale: 0, reads: 0, failed: 0 }));
    result.replaceChildren(
      el('ul', { class: 'scores' }, rows.map((row) => el('li', {}, el('b', {}, row.level), row.cells, row.sum))),
      el('p', { class: 'caption' }, `Does the answer know that ${nameOf(seat)} is booked? The letter is the database that answered. `, through));
    for (let round = 0; round < rounds; round++) {
      await Promise.all(rows.map((row) => look(row, slot, room, seat, asked)));
      through.textContent = `Asked through ${[...asked].sort().join(', ')}.`;
    }
    say(`${nameOf(seat)} was booked. ${rows.map((row) => `${row.level}: ${row.stale} of ${row.reads} reads stale`).join('. ')}.`);
  } finally {
    if (held) await hold(late.name, false).catch((problem) => notify(problem.message, 'bad'));
  }
}

// look reads the seats once at a level, and marks whether the answer knew of
// the booking.
async function look(row, slot, room, seat, asked) {
  try {
    const { body, route } = await call(`/api/seats?slot=${encodeURIComponent(slot)}&room=${encodeURIComponent(room)}`, { level: row.level });
    const fresh = body.seats.some(({ id, taken }) => id === seat.id && taken);
    row.reads++;
    if (!fresh) row.stale++;
    const node = route?.node ?? '';
    if (route?.instance) asked.add(route.instance);
    const told = `${node}${route?.instance ? ` for ${route.instance}` : ''}: ${fresh ? 'fresh' : 'stale'}${route?.waited_ms > 0 ? `, waited ${milliseconds(route.waited_ms)}` : ''}`;
    row.cells.append(el('span', { class: fresh ? 'look' : 'look is-stale', title: told }, node ? badge(node, 20) : null, mark(fresh), hidden(`${told}. `)));
  } catch (problem) {
    row.failed++;
    row.cells.append(el('span', { class: 'look is-stale', title: problem.message }, '–', hidden(problem.message)));
  }
  row.sum.textContent = row.failed ? `${row.failed} refused` : row.stale ? `${row.stale} stale` : 'all fresh';
  row.sum.dataset.kind = row.failed || row.stale ? 'stale' : 'fresh';
}

async function fight(result, seat) {
  const { slot } = currentPlace();
  const dots = Array.from({ length: crowd }, () => el('i'));
  const number = (kind, name) => {
    const value = el('b', {}, '–');
    return { value, element: el('div', { class: `number ${kind}` }, value, el('span', {}, name)) };
  };
  const booked = number('booked', 'booked');
  const refused = number('refused', 'refused politely');
  const errors = number('errors', 'errors');
  const caption = el('p', { class: 'caption' }, `All want ${nameOf(seat)}…`);
  const board = el('div', { class: 'crowd waiting', 'aria-hidden': 'true' }, dots);
  result.replaceChildren(el('div', { class: 'numbers' }, booked.element, refused.element, errors.element), board, caption);

  let body;
  try {
    ({ body } = await call('/api/fight', { label: `${crowd} users want ${nameOf(seat)}`, method: 'POST', body: { slot, seat: seat.id, users: crowd }, patience: 120000 }));
  } finally {
    board.classList.remove('waiting');
  }
  booked.value.textContent = body.booked;
  refused.value.textContent = body.refused;
  errors.value.textContent = body.errors;
  booked.element.dataset.kind = body.booked === 1 ? 'good' : 'bad';
  errors.element.dataset.kind = body.errors > 0 ? 'bad' : '';
  settle(dots, body);
  caption.textContent = body.winner
    ? `${nameOf(seat)} went to ${body.winner.customer}, through ${body.winner.instance}. Then every instance was asked for it; all in ${milliseconds(body.took_ms)}.`
    : `Nobody got ${nameOf(seat)}.`;
  result.append(el('ul', { class: 'scores' }, body.looks.map(({ level, reads, stale, errors: failed }) => {
    const meter = el('span', { class: 'meter', 'aria-hidden': 'true' }, el('i'));
    meter.style.setProperty('--fill', String(reads ? stale / reads : 0));
    return el('li', {}, el('b', {}, level), meter, el('span', { class: 'sum', 'data-kind': stale || failed ? 'stale' : 'fresh' },
      failed ? `${plural(failed, 'error')}, ${stale} of ${reads} stale` : stale ? [mark(false), `${stale} of ${reads} stale`] : [mark(true), `${plural(reads, 'read')}, all fresh`]));
  })));
  const behind = currentState()?.nodes.some((node) => node.paused || node.late);
  if (!behind) result.append(el('p', { class: 'caption' }, 'Every replica is up to date. Make one lag and fight again: eventual reads will show it.'));
  say(`${body.booked} booked, ${body.refused} refused, ${plural(body.errors, 'error')}. ${body.looks.map(({ level, reads, stale }) => `${level}: ${stale} of ${reads} reads stale`).join('. ')}.`);
}

// settle colours one dot for each user, the winner somewhere among them.
function settle(dots, { booked, refused, errors }) {
  const kinds = [...Array(refused).fill('refused'), ...Array(errors).fill('error')].slice(0, dots.length);
  for (let i = 0; i < booked; i++) kinds.splice(Math.floor(Math.random() * (kinds.length + 1)), 0, 'booked');
  dots.forEach((dot, i) => {
    dot.style.setProperty('--turn', String(i));
    if (kinds[i]) dot.dataset.kind = kinds[i];
  });
}
