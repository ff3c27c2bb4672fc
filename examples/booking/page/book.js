// The dialog: book a seat, or cancel a booking of one's own.
import { byId, notify, setText } from './dom.js';
import { call, newKey } from './api.js';
import { forget, mineOf, remember } from './mine.js';
import { currentPlace, focusSeat, nameOf, repaint, update } from './seats.js';
import { keep, kept } from './storage.js';

let seat = null;
let key = '';
let asked = '';
let busy = false;
let hooks = {};

// startBooking: when(slot) says a time in words; reread reads the seats again.
export function startBooking(options) {
  hooks = options;
  const dialog = byId('booking');
  byId('booking-close').addEventListener('click', () => dialog.close());
  byId('booking-form').addEventListener('submit', (event) => {
    event.preventDefault();
    if (!busy) submit();
  });
  dialog.addEventListener('close', () => { if (seat) focusSeat(seat.id); });
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  byId('booking-name').value = kept('name') ?? '';
}

// choose opens the dialog for a seat, or says why there is nothing to do.
export function choose(chosen) {
  const own = mineOf(currentPlace().slot, chosen.id);
  if (chosen.taken && !own) {
    notify(`${nameOf(chosen)} is taken${chosen.booked_by ? ` by ${chosen.booked_by}` : ''}. Please choose another seat.`);
    return;
  }
  seat = chosen;
  asked = '';
  const cancel = Boolean(own);
  setText(byId('booking-title'), cancel ? `Seat ${nameOf(seat)} is yours` : `Book seat ${nameOf(seat)}`);
  setText(byId('booking-when'), hooks.when(currentPlace().slot));
  setText(byId('booking-problem'), '');
  setText(byId('booking-close'), cancel ? 'Keep it' : 'Not now');
  byId('booking-field').hidden = cancel;
  byId('booking-name').required = !cancel;
  byId('booking-form').dataset.does = cancel ? 'cancel' : 'book';
  label();
  byId('booking').showModal();
  byId(cancel ? 'booking-close' : 'booking-name').focus();
}

function label() {
  const cancel = byId('booking-form').dataset.does === 'cancel';
  const button = byId('booking-submit');
  setText(button, busy ? (cancel ? 'Cancelling…' : 'Booking…') : cancel ? 'Cancel the booking' : 'Book');
  button.toggleAttribute('aria-disabled', busy);
}

async function submit() {
  const { slot } = currentPlace();
  busy = true;
  label();
  setText(byId('booking-problem'), '');
  try {
    if (byId('booking-form').dataset.does === 'cancel') await cancel(slot);
    else await book(slot);
    byId('booking').close();
  } catch (problem) {
    refused(slot, problem);
  } finally {
    busy = false;
    label();
  }
  await hooks.reread('read after it');
}

async function book(slot) {
  const customer = byId('booking-name').value.trim();
  keep('name', customer);
  // A second press for the same wish carries the same key, so that it cannot
  // book twice even if the first answer was lost.
  const wish = `${slot}:${seat.id}:${customer}`;
  if (asked !== wish) {
    asked = wish;
    key = newKey();
  }
  const { body } = await bookSeat(slot, seat, customer, key);
  notify(`Seat ${nameOf(seat)} is yours, ${body.booking.customer}.`, 'good');
}

// bookSeat books without the dialog.
export async function bookSeat(slot, wanted, customer, key) {
  const answer = await call('/api/bookings', {
    label: `book ${nameOf(wanted)}`, method: 'POST',
    headers: { 'Idempotency-Key': key }, body: { slot, seat: wanted.id, customer },
  });
  remember(answer.body.booking);
  update([{ id: wanted.id, taken: true, booked_by: answer.body.booking.customer }]);
  repaint();
  return answer;
}

async function cancel(slot) {
  const { id } = mineOf(slot, seat.id);
  try {
    await call(`/api/bookings/${encodeURIComponent(id)}`, { label: `cancel ${nameOf(seat)}`, method: 'DELETE' });
  } catch (problem) {
    if (problem.status !== 404) throw problem; // gone already is as good
  }
  forget(slot, seat.id);
  update([{ id: seat.id, taken: false, booked_by: '' }]);
  notify(`Seat ${nameOf(seat)} is free again.`);
}

function refused(slot, problem) {
  let text = problem.message;
  if (problem.code === 'seat_taken') {
    update([{ id: seat.id, taken: true }]);
    text = `Somebody was faster: ${nameOf(seat)} is taken. Nothing was booked.`;
  }
  setText(byId('booking-problem'), text);
}
