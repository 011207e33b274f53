// Before the first paint, so that a page that is dark by choice does not flash white.
// The other choices: choices.js.
try {
  document.documentElement.dataset.theme = JSON.parse(localStorage.kentros).theme;
} catch { /* nothing was chosen, or the browser keeps nothing */ }
