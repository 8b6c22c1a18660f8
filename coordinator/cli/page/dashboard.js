// Draws status.json every two seconds. Everything that comes from a peer is set as text, never as markup.
'use strict';

const states = ['done', 'running', 'failed', 'cancelled', 'impossible', 'waiting'];

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function duration(ms) {
  const s = Math.round(ms / 1000);
  if (s < 60) return s + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min ' + s % 60 + ' s';
  return Math.floor(s / 3600) + ' h ' + Math.floor(s / 60) % 60 + ' min';
}

function counts(map) {
  return Object.entries(map || {}).map(([name, count]) => count + ' ' + name).join(', ');
}

function experiment(status) {
  const box = element('div');
  const head = element('h2');
  const link = element('a', status.experiment);
  link.href = 'report?experiment=' + encodeURIComponent(status.experiment);
  head.append(link, element('span', status.state ? ' · ' + status.state : '', 'quiet'));
  const total = Object.values(status.jobs).reduce((a, b) => a + b, 0);
  const bar = element('div', undefined, 'bar');
  for (const state of states) {
    const part = element('span', undefined, state);
    part.style.width = 100 * (status.jobs[state] || 0) / Math.max(1, total) + '%';
    part.title = (status.jobs[state] || 0) + ' ' + state;
    bar.append(part);
  }
  const words = counts(status.jobs) + (status.eta_ms > 0 ? ' · about ' + duration(status.eta_ms) + ' left' : '');
  box.append(head, bar, element('p', words));
  if (Object.keys(status.failures || {}).length) box.append(element('p', 'failed: ' + counts(status.failures), 'trouble'));
  if (Object.keys(status.retries || {}).length) box.append(element('p', 'done again: ' + counts(status.retries), 'quiet'));
  for (const reason of (status.reasons || []).slice(0, 5)) box.append(element('p', reason, 'quiet'));
  return box;
}

// A row for each model and device, a column for each method; the colour is how far the cell is, the number its estimate.
function grid(results) {
  const table = element('table', undefined, 'grid');
  const methods = [...new Set(results.cells.map(cell => cell.method))];
  const rows = new Map();
  for (const cell of results.cells) {
    const name = cell.model + ' · ' + cell.gpu;
    if (!rows.has(name)) rows.set(name, new Map());
    rows.get(name).set(cell.method, cell);
  }
  const estimates = new Map(results.estimates.map(one => [one.model + '|' + one.method + '|' + one.device, one]));
  const head = element('tr');
  head.append(element('th', 'decode tokens/s'), ...methods.map(method => element('th', method)));
  table.append(head);
  for (const [name, cells] of rows) {
    const row = element('tr');
    row.append(element('th', name));
    for (const method of methods) row.append(gridCell(cells.get(method), estimates));
    table.append(row);
  }
  return table;
}

function gridCell(cell, estimates) {
  if (!cell) return element('td');
  const state = states.slice().reverse().find(name => cell.states[name]) || 'waiting';
  const estimate = estimates.get(cell.model + '|' + cell.method + '|' + cell.gpu);
  const known = estimate && estimate.decode !== null;
  const made = element('td', known ? estimate.decode.toPrecision(3) : '·', 'is-' + state);
  made.title = counts(cell.states) + (known && estimate.low !== null ?
      ' · 95 % interval ' + estimate.low.toPrecision(3) + ' to ' + estimate.high.toPrecision(3) : '') +
      (known && estimate.perplexity !== null ? ' · perplexity ' + estimate.perplexity.toPrecision(4) : '');
  return made;
}

// What was last known of each experiment's results: shown at once, while new ones are read.
const lastResults = new Map();

function show(box, name) {
  box.querySelectorAll('.results').forEach(old => old.remove());
  const results = lastResults.get(name);
  if (!results) return;
  const part = element('div', undefined, 'results');
  part.append(grid(results));
  if (results.answer) part.append(element('p', results.answer));
  box.append(part);
}

// The results of one experiment, below its bar; not there when the page has no database to read.
async function fill(box, name) {
  const answer = await fetch('results.json?experiment=' + encodeURIComponent(name));
  if (!answer.ok) return;
  lastResults.set(name, await answer.json());
  show(box, name);
}

function worker(status) {
  const row = element('tr');
  const devices = status.devices.map(device => device.id + ' ' + device.name +
      (device.facts && device.facts.set_aside ? ' (set aside: ' + device.facts.set_aside + ')' : '')).join(', ');
  const jobs = status.running.map(job => job.key.slice(0, 12)).join(', ');
  for (const text of [status.worker, status.host, status.state, devices, jobs, duration(status.silent_ms),
                      status.loads, status.loads_saved]) {
    row.append(element('td', text));
  }
  return row;
}

async function draw() {
  const state = document.getElementById('state');
  try {
    const answer = await fetch('status.json');
    const status = await answer.json();
    if (status.error) throw new Error(status.error);
    state.textContent = status.state;
    state.className = status.state === 'running' ? '' : 'trouble';
    const boxes = status.experiments.map(experiment);
    status.experiments.forEach((one, i) => show(boxes[i], one.experiment));
    document.getElementById('experiments').replaceChildren(...boxes);
    document.getElementById('workers').replaceChildren(...status.workers.map(worker));
    await Promise.all(status.experiments.map((one, i) => fill(boxes[i], one.experiment)));
  } catch (failure) {
    state.textContent = failure.message;
    state.className = 'trouble';
  }
}

// One drawing at a time, however long a large database takes to read.
async function keepDrawing() {
  await draw();
  setTimeout(keepDrawing, 2000);
}

keepDrawing();
