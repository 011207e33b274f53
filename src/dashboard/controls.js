// What the visitor sets: search and filters, the order, columns, unit and theme.

import { choices, choose, onChoice } from './choices.js';
import { COLUMNS, UNITS, WORDS, isShown, order } from './columns.js';
import { $, blank, button, h, place, write } from './dom.js';
import { STATES, model, projectName } from './model.js';

// Each shows a choice where it was made.
const reflections = [];

function option(value, label) {
  const made = h('option', '', label);
  made.value = value;
  return made;
}

/** A select or a search field that sets one choice. */
function field(id, key, event) {
  $(id).addEventListener(event, () => choose({ [key]: $(id).value }));
  reflections.push(() => { if ($(id).value !== choices[key]) $(id).value = choices[key]; });
}

/** A radio button or a check box with its words. */
function box(type, name, label, isOn, change) {
  const input = h('input');
  Object.assign(input, { type, name, onchange: () => change(input.checked) });
  reflections.push(() => { input.checked = isOn(); });
  return h('label', '', input, label);
}

const radios = (key, options) => Object.entries(options).map(([value, label]) =>
  box('radio', key, label, () => choices[key] === value, () => choose({ [key]: value })));

/** The projects to choose from, where they differ from those that stand there. */
export function listProjects() {
  const ids = [...new Set([...model.projects.map(({ id }) => id), choices.project].filter(Boolean))].sort();
  const there = [...$('project').options].slice(1).map(({ value }) => value);
  if (ids.join('\n') === there.join('\n')) return;
  place($('project'), ids.map((id) => option(id, projectName(id))), 1);
  $('project').value = choices.project;
}

/** The head of a column: a press orders by it, a second one turns the order round. */
function head(column) {
  const text = blank();
  const press = button('sort', text);
  press.tabIndex = 0;
  const cell = h('th', column.by ? `figure ${column.key}` : column.key, press);
  cell.setAttribute('role', 'columnheader');
  press.onclick = () => {
    const now = order();
    // Figures are looked at from the greatest on.
    const down = now.column === column ? !now.down : Boolean(column.by);
    choose({ sort: (down ? '-' : '') + column.key });
  };
  reflections.push(() => {
    const now = order();
    write(text, column.head());
    cell.setAttribute('aria-sort', now.column !== column ? 'none' : now.down ? 'descending' : 'ascending');
  });
  return cell;
}

function reflect() {
  for (const show of reflections) show();
  const { style, classList } = $('table');
  style.setProperty('--columns', COLUMNS.filter(isShown).map(({ key }) => `var(--w-${key})`).join(' '));
  style.setProperty('--words', WORDS.filter(isShown).length);
  for (const column of COLUMNS) classList.toggle(`no-${column.key}`, !isShown(column));
}

export function startControls() {
  field('search', 'q', 'input');
  field('state', 'state', 'change');
  field('project', 'project', 'change');
  field('sort', 'sort', 'change');
  $('state').append(...Object.keys(STATES).map((key) => option(key, key.replace(/^./, (c) => c.toUpperCase()))));
  $('sort').append(...COLUMNS.map(({ key, by, label }) => option((by ? '-' : '') + key, `By ${label}`)));
  $('units').append(...radios('cpu', Object.fromEntries(Object.entries(UNITS).map(([key, [, label]]) => [key, label]))));
  $('theme').append(...radios('theme', { auto: 'as the system', light: 'light', dark: 'dark' }));
  $('which').append(...COLUMNS.slice(1).map((column) => box('checkbox', column.key, column.label, () => isShown(column),
    (on) => choose({ columns: { ...choices.columns, [column.key]: on } }))));
  $('groups').append(box('checkbox', 'grouped', 'by project', () => choices.grouped, (grouped) => choose({ grouped })));
  $('columns').append(...COLUMNS.map(head));
  $('unfilter').onclick = () => choose({ q: '', state: '', project: '' });
  $('tools').onsubmit = (event) => event.preventDefault();

  const menu = $('view');
  document.addEventListener('click', ({ target }) => { if (!menu.contains(target)) menu.open = false; });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && menu.open) {
      menu.open = false;
      menu.firstElementChild.focus();
    } else if (event.key === '/' && !event.ctrlKey && !event.altKey && !event.metaKey && !event.target.closest('input, select, dialog')) {
      event.preventDefault();
      $('search').focus();
    }
  });
  onChoice(reflect);
  reflect();
}
