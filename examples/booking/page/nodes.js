// The databases and the instances, live.
import { byId, bytes, el, hidden, notify, plural, setText, svg } from './dom.js';
import { badge, know } from './identity.js';
import { call } from './api.js';
import { currentState, setState } from './live.js';
import { on } from './bus.js';

const samples = 60; // one a second: the sparkline shows the last minute
const lags = new Map();
const cards = new Map();
let served = '';

export function startNodes() {
  on('state', show);
  on('answer', light);
  on('live', (live) => {
    byId('live').dataset.live = live;
    setText(byId('live-text'), live === 'on' ? 'live' : 'reconnecting');
  });
  setInterval(sample, 1000);
}

function show(state) {
  served ||= state.instance; // the first that answered is who served the page
  know(state.nodes.map((node) => node.name));
  showNodes(state.nodes);
  showInstances(state);
  setText(byId('registry'), state.registry === 'connected' ? 'registry connected' : 'registry lost: the last known');
  byId('registry').classList.toggle('warn', state.registry !== 'connected');
}

function showNodes(nodes) {
  const list = byId('node-list');
  const sorted = [...nodes].sort((a, b) => (b.role === 'primary') - (a.role === 'primary') || a.name.localeCompare(b.name));
  for (const [name, card] of cards) {
    if (!nodes.some((node) => node.name === name)) { card.item.remove(); cards.delete(name); }
  }
  sorted.forEach((node, i) => {
    const card = cards.get(node.name) ?? makeCard(node.name);
    if (list.children[i] !== card.item) list.insertBefore(card.item, list.children[i] ?? null);
    showNode(card, node);
  });
}

function makeCard(name) {
  const card = {
    role: el('span', { class: 'role' }),
    flag: el('span', { class: 'flag' }),
    lag: el('span', { class: 'lag-text' }),
    line: svg('polyline'),
    area: svg('polygon'),
  };
  card.button = el('button', { type: 'button', class: 'small', onclick: () => toggle(name, card) });
  card.item = el('li', { class: 'node-card' },
    badge(name, 34),
    el('div', { class: 'node-name' }, el('b', {}, name), card.role, card.flag),
    card.button,
    card.lag,
    el('span', { class: 'spark-label' }, 'lag, last minute'),
    svg('svg', { class: 'spark', viewBox: `0 0 ${samples - 1} 24`, preserveAspectRatio: 'none', 'aria-hidden': 'true' }, card.area, card.line),
  );
  cards.set(name, card);
  lags.set(name, lags.get(name) ?? []);
  return card;
}

function showNode(card, node) {
  const primary = node.role === 'primary';
  const back = node.paused || node.late;
  card.node = node;
  setText(card.role, node.role);
  const flag = !node.healthy ? 'not answering' : node.paused ? 'held back' : node.late ? 'late' : '';
  setText(card.flag, flag);
  card.flag.hidden = flag === '';
  card.item.classList.toggle('is-late', Boolean(back));
  card.item.classList.toggle('is-down', !node.healthy);
  card.item.classList.toggle('is-primary', primary);
  setText(card.lag, primary ? 'takes the writes' : node.healthy ? (node.lag_bytes > 0 ? `${bytes(node.lag_bytes)} behind` : 'up to date') : 'lag unknown');
  card.button.hidden = primary;
  if (!card.busy) {
    card.button.replaceChildren(back ? 'Let it catch up' : 'Make it lag', hidden(`: ${node.name}`));
    card.button.setAttribute('aria-pressed', String(Boolean(back)));
  }
}

// height maps bytes to 0 … 1, by order of magnitude: the first
// kilobytes matter as much to a reader as the next megabytes.
const height = (lag) => (lag > 0 ? Math.min(1, Math.log10(1 + lag / 64) / 5) : 0);

function sample() {
  for (const [name, card] of cards) {
    const history = lags.get(name);
    history.push(card.node.role === 'primary' ? 0 : height(card.node.lag_bytes));
    if (history.length > samples) history.shift();
    const start = samples - history.length;
    const points = history.map((lag, i) => `${start + i},${(23 - lag * 21).toFixed(1)}`).join(' ');
    card.line.setAttribute('points', points);
    card.area.setAttribute('points', `${start},24 ${points} ${samples - 1},24`);
  }
}

async function toggle(name, card) {
  const late = !(card.node.paused || card.node.late);
  card.busy = true;
  card.button.disabled = true;
  try {
    await hold(name, late);
    notify(late ? `${name} is held back: it answers, with old data.` : `${name} catches up.`);
  } catch (problem) {
    notify(problem.message, 'bad');
  } finally {
    card.busy = false;
    card.button.disabled = false;
    showNode(card, card.node);
    card.button.focus();
  }
}

// hold pauses or resumes replay on a replica, and shows what became of it.
export async function hold(name, late) {
  await call('/api/late', { label: late ? `hold ${name} back` : `let ${name} catch up`, method: 'POST', body: { node: name, late } });
  await refresh();
}

export async function refresh() {
  const { body } = await call('/api/state');
  setState(body);
}

function showInstances(state) {
  const port = location.port || (location.protocol === 'https:' ? '443' : '80');
  const here = state.instances.find((instance) => portOf(instance.addr) === port);
  const list = byId('instance-list');
  list.replaceChildren(...state.instances.map((instance) => {
    const self = here ? instance === here : instance.name === served;
    return el('li', { class: self ? 'instance self' : 'instance', 'data-name': instance.name },
      el('span', { class: 'dot', 'aria-hidden': 'true' }),
      here && self ? el('b', {}, instance.name)
        : el('a', { href: address(instance.addr), target: `booking-${instance.name}` }, instance.name),
      el('span', { class: 'via' }, instance.via === 'library' ? 'library inside' : 'over a sidecar'),
      el('span', { class: 'note' }, self ? (here ? 'this page' : 'served this page') : instance.addr));
  }));
  byId('served').replaceChildren(...(here
    ? ['This page: instance ', el('b', {}, here.name)]
    : ['This page: load balancer of ', el('b', {}, plural(state.instances.length, 'instance')), ', from ', el('b', {}, served)]));
}

const portOf = (addr) => addr.slice(addr.lastIndexOf(':') + 1);

// address is where another instance serves this page, with the same room and
// time. Its name for the machine is kept only if this page does not know better.
function address(addr) {
  const host = addr.slice(0, addr.lastIndexOf(':'));
  const local = ['', '127.0.0.1', '[::1]', '0.0.0.0', '[::]', 'localhost'].includes(host);
  return `${location.protocol}//${local ? location.hostname : host}:${portOf(addr)}/${location.search}`;
}

// light marks the instance and the database of an answer for a moment.
function light({ route }) {
  if (!route) return;
  const items = [cards.get(route.node)?.item];
  for (const item of byId('instance-list').children) if (item.dataset.name === route.instance) items.push(item);
  for (const item of items.filter(Boolean)) {
    item.classList.remove('lit');
    void item.offsetWidth; // restarts the animation
    item.classList.add('lit');
  }
}

// replicas are the healthy ones, those held back first.
export function replicas() {
  return (currentState()?.nodes ?? []).filter((node) => node.role === 'replica' && node.healthy)
    .sort((a, b) => Number(b.paused || b.late) - Number(a.paused || a.late) || a.name.localeCompare(b.name));
}
