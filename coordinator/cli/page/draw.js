// What the other scripts draw with. Everything that comes from a peer is set as text, never as markup.
'use strict';

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function shape(name, attributes, text) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function heading(text, scope) {
  const made = element('th', text);
  made.scope = scope;
  return made;
}

// A table in a box that scrolls by itself, also by keyboard.
function table(caption, heads, rows, className) {
  const made = element('table', undefined, className);
  made.append(element('caption', caption));
  const top = element('tr');
  top.append(...heads.map(text => heading(text, 'col')));
  const head = element('thead'), body = element('tbody');
  head.append(top);
  body.append(...rows);
  made.append(head, body);
  const box = element('div', undefined, 'wide');
  box.tabIndex = 0;
  box.setAttribute('role', 'region');
  box.setAttribute('aria-label', caption);
  box.append(made);
  return box;
}

function duration(ms) {
  const s = Math.round(ms / 1000);
  if (s < 60) return s + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min ' + s % 60 + ' s';
  return Math.floor(s / 3600) + ' h ' + Math.floor(s / 60) % 60 + ' min';
}

// Four digits, and never "1.2e+3" where people read 1234.
function short(value) {
  if (typeof value !== 'number') return value === null || value === undefined ? '' : String(value);
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e7 || size >= 1000 && size < 1e7) return String(Math.round(value));
  return size !== 0 && (size < 1e-3 || size >= 1e7) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}
