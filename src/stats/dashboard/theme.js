// Sets the theme before the first paint, so that a dark page does not flash white. For the other
// settings, see choices.js.
try {
  document.documentElement.dataset.theme = JSON.parse(localStorage.kentros).theme;
} catch { /* nothing saved, or no storage */ }
