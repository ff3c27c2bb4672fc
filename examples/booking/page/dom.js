// Small helpers for the document. Text always goes in as text, never as HTML.

export const byId = (id) => document.getElementById(id);

// el makes an element: el('p', {class: 'hint'}, 'text', otherElement).
// A value of false or null leaves an attribute out; on… adds a listener.
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

// svg is el for the SVG namespace.
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// hidden is text for screen readers only.
export const hidden = (text) => el('span', { class: 'hidden' }, text);

// setText changes a text only when it differs, so that nothing is announced twice.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const whole = new Intl.NumberFormat('en');

// bytes says a size as people do: 0 B, 912 B, 13 kB, 2.4 MB.
export function bytes(n) {
  if (!(n > 0)) return '0\u00a0B';
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    if (n < 999.5) return `${unit === 'B' || n >= 10 ? whole.format(Math.round(n)) : n.toFixed(1)}\u00a0${unit}`;
    n /= 1000;
  }
  return `${whole.format(Math.round(n))}\u00a0TB`;
}

// milliseconds says a duration: 0 ms, 0.4 ms, 12 ms, 1.3 s.
export function milliseconds(n) {
  if (!(n > 0)) return '0\u00a0ms';
  if (n < 0.1) return '<\u00a00.1\u00a0ms';
  if (n < 9.95) return `${n.toFixed(1).replace(/\.0$/, '')}\u00a0ms`;
  if (n < 999.5) return `${Math.round(n)}\u00a0ms`;
  return `${(n / 1000).toFixed(1)}\u00a0s`;
}

export const plural = (n, one, many = `${one}s`) => `${whole.format(n)} ${n === 1 ? one : many}`;

let noticeTimer = 0;

// notify shows a message for a while, and screen readers read it politely.
// kind is '', 'good' or 'bad'.
export function notify(text, kind = '') {
  const notice = byId('notice');
  clearTimeout(noticeTimer);
  notice.dataset.kind = kind;
  notice.textContent = text;
  notice.classList.add('shown');
  noticeTimer = setTimeout(() => {
    notice.classList.remove('shown');
    noticeTimer = setTimeout(() => { notice.textContent = ''; }, 400);
  }, 6000);
}

// say is notify for what is seen elsewhere on the page already.
export function say(text) { setText(byId('spoken'), text); }
