// The user's settings. Search, filters and sort order are kept in the URL, so a view can be shared;
// display settings are kept in the browser.

const IN_URL = { q: '', state: '', project: '', sort: 'name' };
const IN_BROWSER = { columns: {}, cpu: 'core', theme: 'auto', grouped: true, closed: [] };

export const choices = { ...IN_URL, ...IN_BROWSER };
const listeners = [];

/** Calls `listener` after each change. */
export const onChoice = (listener) => listeners.push(listener);

export function choose(changes) {
  Object.assign(choices, changes);
  const url = new URL(location);
  for (const [key, initial] of Object.entries(IN_URL)) {
    if (choices[key] === initial) url.searchParams.delete(key);
    else url.searchParams.set(key, choices[key]);
  }
  if (url.href !== location.href) history.replaceState(null, '', url);
  document.documentElement.dataset.theme = choices.theme;
  try {
    const saved = Object.keys(IN_BROWSER).map((key) => [key, choices[key]]);
    localStorage.kentros = JSON.stringify(Object.fromEntries(saved));
  } catch { /* without storage, settings last until the page is closed */ }
  for (const listener of listeners) listener();
}

const parameters = new URLSearchParams(location.search);
for (const key in IN_URL) choices[key] = parameters.get(key) ?? IN_URL[key];
try {
  const saved = JSON.parse(localStorage.kentros);
  for (const [key, initial] of Object.entries(IN_BROWSER)) {
    // Ignore values of another type, saved by an older version.
    if (saved[key]?.constructor === initial.constructor) choices[key] = saved[key];
  }
} catch { /* nothing saved, or no storage */ }
