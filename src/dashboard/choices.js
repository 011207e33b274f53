// What the visitor chose. What is shown stands in the URL, to be sent to others; how it is shown
// is kept in the browser.

const IN_URL = { q: '', state: '', project: '', sort: 'name' };
const IN_BROWSER = { columns: {}, cpu: 'core', theme: 'auto', grouped: true, closed: [] };

export const choices = { ...IN_URL, ...IN_BROWSER };
const told = [];

/** Calls `listener` after each change. */
export const onChoice = (listener) => told.push(listener);

export function choose(changes) {
  Object.assign(choices, changes);
  const url = new URL(location);
  for (const [key, usual] of Object.entries(IN_URL)) {
    if (choices[key] === usual) url.searchParams.delete(key);
    else url.searchParams.set(key, choices[key]);
  }
  if (url.href !== location.href) history.replaceState(null, '', url);
  document.documentElement.dataset.theme = choices.theme;
  try {
    const kept = Object.keys(IN_BROWSER).map((key) => [key, choices[key]]);
    localStorage.kentros = JSON.stringify(Object.fromEntries(kept));
  } catch { /* a browser that keeps nothing still shows everything */ }
  for (const listener of told) listener();
}

const asked = new URLSearchParams(location.search);
for (const key in IN_URL) choices[key] = asked.get(key) ?? IN_URL[key];
try {
  const kept = JSON.parse(localStorage.kentros);
  for (const [key, usual] of Object.entries(IN_BROWSER)) {
    // Whatever an older page left there.
    if (kept[key]?.constructor === usual.constructor) choices[key] = kept[key];
  }
} catch { /* the same */ }
