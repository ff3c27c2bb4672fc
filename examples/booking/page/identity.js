// Each database has a letter, a shape and a colour that stay the same, so that
// it is known at a glance, with or without colour.
import { el, svg } from './dom.js';

const shapes = [
  () => svg('circle', { cx: 12, cy: 12, r: 10 }),
  () => svg('rect', { x: 2.5, y: 2.5, width: 19, height: 19, rx: 4.5 }),
  () => svg('path', { d: 'M12 .8 23.2 12 12 23.2.8 12z' }),
  () => svg('path', { d: 'M7 2.2h10L22.6 12 17 21.8H7L1.4 12z' }),
  () => svg('path', { d: 'M12 1.2 23 9.3 18.8 22H5.2L1 9.3z' }),
];

const order = [];

// know gives identities to names that have none yet, in alphabetical order, so
// that all pages agree.
export function know(names) {
  for (const name of [...names].sort()) if (!order.includes(name)) order.push(name);
}

export function identity(name) {
  if (!order.includes(name)) order.push(name);
  const at = order.indexOf(name);
  return { letter: String.fromCharCode(65 + (at % 26)), index: at % shapes.length };
}

// badge draws a node's sign. It is decoration: the name stands beside it.
export function badge(name, size = 22) {
  const { letter, index } = identity(name);
  return svg('svg', { class: `badge node-${index}`, viewBox: '0 0 24 24', width: size, height: size, 'aria-hidden': 'true' },
    shapes[index](), svg('text', { x: 12, y: 16.2, 'text-anchor': 'middle' }, letter));
}

// arrow joins the stations of a route.
export const arrow = () => svg('svg', { class: 'arrow', viewBox: '0 0 24 12', width: 22, height: 11, 'aria-hidden': 'true' },
  svg('path', { d: 'M1 6h20m-4.5-4.5L21 6l-4.5 4.5' }));

// mark is a sign for fresh and stale.
export function mark(fresh) {
  return svg('svg', { class: fresh ? 'mark fresh' : 'mark stale', viewBox: '0 0 16 16', width: 14, height: 14, 'aria-hidden': 'true' },
    fresh ? svg('path', { d: 'm3 8.6 3.2 3.2L13 4.6' }) : svg('path', { d: 'M4 4l8 8m0-8-8 8' }));
}

export const stations = (...parts) => el('p', { class: 'stations' },
  parts.filter(Boolean).flatMap((part, i) => (i ? [arrow(), part] : [part])));
