// The controls: search, filters, sort order, columns, CPU unit and theme.

import { choices, choose, onChoice } from './choices.js';
import { COLUMNS, TEXT_COLUMNS, UNITS, isShown, sortOrder } from './columns.js';
import { $, blank, button, h, replaceChildren, write } from './dom.js';
import { STATES, model, projectName } from './model.js';

// Functions that update a control from the settings.
const updates = [];

function option(value, label) {
  const element = h('option', '', label);
  element.value = value;
  return element;
}

/** Binds a select or search field to a setting. */
function bindField(id, key, event) {
  $(id).addEventListener(event, () => choose({ [key]: $(id).value }));
  updates.push(() => { if ($(id).value !== choices[key]) $(id).value = choices[key]; });
}

/** A labelled radio button or check box. */
function labelledInput(type, name, label, isOn, change) {
  const input = h('input');
  Object.assign(input, { type, name, onchange: () => change(input.checked) });
  updates.push(() => { input.checked = isOn(); });
  return h('label', '', input, label);
}

const radios = (key, options) => Object.entries(options).map(([value, label]) =>
  labelledInput('radio', key, label, () => choices[key] === value, () => choose({ [key]: value })));

/** Updates the project filter if the list of projects has changed. */
export function updateProjectFilter() {
  const ids = [...new Set([...model.projects.map(({ id }) => id), choices.project].filter(Boolean))].sort();
  const current = [...$('project').options].slice(1).map(({ value }) => value);
  if (ids.join('\n') === current.join('\n')) return;
  replaceChildren($('project'), ids.map((id) => option(id, projectName(id))), 1);
  $('project').value = choices.project;
}

/** A column header. A click sorts by the column; another click reverses the order. */
function columnHeader(column) {
  const text = blank();
  const sortButton = button('sort', text);
  sortButton.tabIndex = 0;
  const cell = h('th', column.sortKey ? `figure ${column.key}` : column.key, sortButton);
  cell.setAttribute('role', 'columnheader');
  sortButton.onclick = () => {
    const current = sortOrder();
    // Numbers start with the largest.
    const descending = current.column === column ? !current.descending : Boolean(column.sortKey);
    choose({ sort: (descending ? '-' : '') + column.key });
  };
  updates.push(() => {
    const current = sortOrder();
    write(text, column.header());
    cell.setAttribute('aria-sort', current.column !== column ? 'none' : current.descending ? 'descending' : 'ascending');
  });
  return cell;
}

function updateControls() {
  for (const update of updates) update();
  const { style, classList } = $('table');
  style.setProperty('--columns', COLUMNS.filter(isShown).map(({ key }) => `var(--w-${key})`).join(' '));
  style.setProperty('--words', TEXT_COLUMNS.filter(isShown).length);
  for (const column of COLUMNS) classList.toggle(`no-${column.key}`, !isShown(column));
}

export function startControls() {
  bindField('search', 'q', 'input');
  bindField('state', 'state', 'change');
  bindField('project', 'project', 'change');
  bindField('sort', 'sort', 'change');
  $('state').append(...Object.keys(STATES).map((key) => option(key, key.replace(/^./, (c) => c.toUpperCase()))));
  $('sort').append(...COLUMNS.map(({ key, sortKey, label }) => option((sortKey ? '-' : '') + key, `Sort by ${label}`)));
  $('units').append(...radios('cpu', Object.fromEntries(Object.entries(UNITS).map(([key, [, label]]) => [key, label]))));
  $('theme').append(...radios('theme', { auto: 'system', light: 'light', dark: 'dark' }));
  $('which').append(...COLUMNS.slice(1).map((column) => labelledInput('checkbox', column.key, column.label, () => isShown(column),
    (on) => choose({ columns: { ...choices.columns, [column.key]: on } }))));
  $('groups').append(labelledInput('checkbox', 'grouped', 'by project', () => choices.grouped, (grouped) => choose({ grouped })));
  $('columns').append(...COLUMNS.map(columnHeader));
  $('unfilter').onclick = () => choose({ q: '', state: '', project: '' });
  $('tools').onsubmit = (event) => event.preventDefault();
  // The login sets this cookie for the button; scripts cannot read the other one.
  $('logout').hidden = !document.cookie.includes('kentros_login');
  $('logout').onclick = () => fetch('logout', { method: 'POST', redirect: 'manual' }).finally(() => location.reload());

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
  onChoice(updateControls);
  updateControls();
}
