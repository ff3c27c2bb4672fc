// Which database answered, and why: the two lanes below the seats (the last
// write, the last read) and the log.
import { byId, el, hidden, milliseconds } from './dom.js';
import { badge, mark, stations } from './identity.js';
import { currentToken } from './api.js';
import { on } from './bus.js';

const kept = 20;

// words says a reason as one says it to a person.
export function words(route) {
  if (!route) return '';
  const waited = milliseconds(route.waited_ms);
  switch (route.reason) {
    case 'covered':
      if (route.level === 'eventual') return 'any healthy replica would do';
      if (route.level === 'bounded') return 'recent enough';
      if (route.level === 'strong') return 'already had everything acknowledged to anyone';
      return currentToken() ? 'already had your write' : 'already had all that you saw';
    case 'waited': return `waited ${waited} until it had it`;
    case 'proof': return 'proved in the same round trip that it had it';
    case 'transaction': return 'its transaction ran there already';
    case 'pinned': return 'this connection is bound to it';
    case 'not_covered':
      return route.role === 'primary' ? 'no replica had it in time, so the primary' : 'no replica had it in time, an older answer was accepted';
    case 'no_replica': return 'no replica was there, so the primary';
    case 'redo': return 'another server failed, so the read ran again here';
    case 'level': case 'hint': // an instance over a sidecar asks by a hint
      return route.level === 'primary' ? 'you asked for the primary itself' : 'a hint in the statement asked for it';
    case 'write': return 'writes go to the primary';
    default: return route.reason ?? '';
  }
}

const where = (route) => el('span', { class: 'station' }, route.instance,
  route.via ? el('small', {}, route.via) : null);

const database = (route) => el('span', { class: 'station' }, badge(route.node), route.node,
  el('small', {}, route.role));

export function startRoutes() {
  showLane(byId('lane-write'), 'Last write', null, 'Book a seat: it goes to the primary.');
  showLane(byId('lane-read'), 'Last read', null, 'No read yet.');
  on('answer', (answer) => {
    if (answer.route?.node) {
      const write = answer.method !== 'GET';
      showLane(byId(write ? 'lane-write' : 'lane-read'), write ? 'Last write' : 'Last read', answer);
    }
    append(answer);
  });
}

function showLane(lane, title, answer, otherwise) {
  if (!answer) {
    lane.replaceChildren(el('h3', {}, title), el('p', { class: 'why quiet' }, otherwise));
    return;
  }
  const { route } = answer;
  lane.classList.toggle('is-stale', Boolean(answer.stale));
  lane.replaceChildren(
    el('h3', {}, title, el('span', { class: 'what' }, answer.label)),
    stations(el('span', { class: 'station' }, 'you'), where(route), database(route)),
    el('p', { class: 'why' }, answer.stale ? [mark(false), el('b', {}, `stale: ${answer.stale}`)] : sentence(answer)),
  );
  lane.classList.remove('fresh-lane');
  void lane.offsetWidth; // restarts the animation
  lane.classList.add('fresh-lane');
}

function sentence({ route, problem }) {
  if (problem) return problem.message;
  if (!route) return '';
  const why = words(route);
  const waited = route.waited_ms > 0 && route.reason !== 'waited' ? `, waited ${milliseconds(route.waited_ms)}` : '';
  return `${why}${waited}`;
}

function append(answer) {
  const list = byId('log-list');
  byId('log-empty').hidden = true;
  const { route } = answer;
  const time = answer.at.toLocaleTimeString('en-GB');
  const bad = answer.problem !== undefined;
  list.prepend(el('li', { class: bad ? 'bad' : answer.stale ? 'is-stale' : '' },
    el('time', { datetime: answer.at.toISOString() }, time),
    el('span', { class: 'what' }, answer.label),
    el('span', { class: 'from' }, route?.instance ?? '–'),
    el('span', { class: 'node' }, route?.node ? [badge(route.node, 20), route.node] : '–'),
    el('span', { class: 'why' }, answer.stale ? [mark(false), `stale: ${answer.stale}`] : sentence(answer)),
    el('span', { class: 'level' }, route?.level ?? ''),
    el('span', { class: 'status' }, hidden('status '), answer.status || 'none'),
    el('span', { class: 'took' }, hidden('after '), milliseconds(answer.took)),
  ));
  while (list.children.length > kept) list.lastElementChild.remove();
}
