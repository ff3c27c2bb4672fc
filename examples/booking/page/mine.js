// The bookings of this tab that the service has acknowledged. An answer that
// does not know one of them is stale.
import { keep, kept } from './storage.js';

let bookings = {};
try { bookings = JSON.parse(kept('mine') ?? '{}') ?? {}; } catch { /* not ours: start anew */ }

const keyOf = (slot, seat) => `${slot}:${seat}`;

export const mineOf = (slot, seat) => bookings[keyOf(slot, seat)];

export function remember(booking) {
  bookings[keyOf(booking.slot, booking.seat)] = { id: booking.id, customer: booking.customer };
  keep('mine', JSON.stringify(bookings));
}

export function forget(slot, seat) {
  delete bookings[keyOf(slot, seat)];
  keep('mine', JSON.stringify(bookings));
}
