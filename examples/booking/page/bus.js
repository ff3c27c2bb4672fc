// What the parts of the page tell each other:
//   answer  an HTTP request was answered (api.js), see there
//   state   instances, nodes, configuration (live.js)
//   seats   some seats as the service sees them now (live.js)
//   live    whether live updates arrive: 'on', 'off' (live.js)
//   level   the level of this page's reads changed (levels.js)
//   token   the page's token changed (api.js)
const target = new EventTarget();

// on calls listener with each detail; it returns what ends that.
export function on(name, listener) {
  const handler = (event) => listener(event.detail);
  target.addEventListener(name, handler);
  return () => target.removeEventListener(name, handler);
}

export function emit(name, detail) {
  target.dispatchEvent(new CustomEvent(name, { detail }));
}
