// What survives a reload of this tab. A browser may refuse storage; then it
// lives as long as the page.
const memory = new Map();

export function keep(key, value) {
  memory.set(key, value);
  try {
    if (value === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, value);
  } catch { /* the memory above has it */ }
}

export function kept(key) {
  if (memory.has(key)) return memory.get(key);
  try { return sessionStorage.getItem(key); } catch { return null; }
}
