// How fresh reads must be: for this page, and for all instances.
import { byId, el, notify, setText } from './dom.js';
import { call, chooseLevel, currentLevel, currentToken } from './api.js';
import { refresh } from './nodes.js';
import { on } from './bus.js';

const choices = [
  ['', 'As configured', 'What is set for all instances.'],
  ['eventual', 'Eventual', 'Any healthy replica. Cheapest, and it may not know your booking yet.'],
  ['session', 'Session', 'At least all that you wrote or saw.'],
  ['strong', 'Strong', 'Everything acknowledged to anyone before the read began.'],
  ['primary', 'Primary', 'The one server that takes the writes, replicas idle.'],
];

let central = '';

export function startLevels(reread) {
  const list = byId('level-list');
  for (const [value, name, text] of choices) {
    const id = `level-${value || 'central'}`;
    list.append(el('div', { class: 'level' },
      el('input', { type: 'radio', name: 'level', id, value, checked: value === currentLevel(), 'aria-describedby': `${id}-text` }),
      el('label', { for: id }, el('b', {}, name), el('span', { id: `${id}-text` }, text))));
    if (value) byId('central-select').append(el('option', { value }, name.toLowerCase()));
  }
  list.addEventListener('change', (event) => {
    chooseLevel(event.target.value);
    reread(`read, ${event.target.value || 'as configured'}`);
  });
  byId('central').addEventListener('submit', async (event) => {
    event.preventDefault();
    const consistency = byId('central-select').value;
    try {
      await call('/api/config', { label: `configure ${consistency}`, method: 'PUT', body: { consistency } });
      await refresh();
      notify(`All instances read at ${consistency} from now on.`, 'good');
    } catch (problem) {
      notify(problem.message, 'bad');
    }
  });
  on('state', ({ config }) => {
    if (!config) return;
    if (config.consistency !== central) byId('central-select').value = config.consistency;
    central = config.consistency;
    setText(byId('level-central-text'), `What is set for all instances: ${central} now.`);
    const wait = config.wait ? `, waiting up to ${config.wait}` : '';
    const then = config.on_timeout ? `, then ${{ primary: 'the primary', error: 'an error', stale: 'an older answer' }[config.on_timeout] ?? config.on_timeout}` : '';
    setText(byId('central-text'), `${central}${wait}${then}. Kept in ZooKeeper, followed live.`);
  });
  on('token', showToken);
  on('bad-token', () => notify('The token of this tab came from another cluster. It was dropped.'));
  showToken(currentToken());
}

function showToken(token) {
  const place = byId('token');
  place.hidden = !token;
  if (token) place.replaceChildren('your token ', el('code', { title: token }, `${token.slice(0, 9)}…${token.slice(-6)}`), ' goes with each request');
}
