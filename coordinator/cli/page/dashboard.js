// Draws status.json every two seconds, and below each experiment what its results say so far.
'use strict';

const states = ['done', 'running', 'failed', 'cancelled', 'impossible', 'waiting'];

function counts(map) {
  return Object.entries(map || {}).filter(([, count]) => count).map(([name, count]) => count + ' ' + name).join(', ');
}

function bar(jobs, name) {
  const total = Object.values(jobs).reduce((a, b) => a + b, 0);
  const made = element('div', undefined, 'bar');
  made.setAttribute('role', 'img');
  made.setAttribute('aria-label', name + ': ' + counts(jobs));
  for (const state of states) {
    const part = element('span', undefined, state);
    part.style.width = 100 * (jobs[state] || 0) / Math.max(1, total) + '%';
    part.title = (jobs[state] || 0) + ' ' + state;
    made.append(part);
  }
  return made;
}

function experiment(status) {
  const box = element('section');
  box.setAttribute('aria-label', status.experiment);
  const head = element('h2');
  const link = element('a', status.experiment);
  link.href = 'report?experiment=' + encodeURIComponent(status.experiment);
  link.title = 'the report of what is measured so far';
  head.append(link, element('span', status.state ? ' · ' + status.state : '', 'quiet'));
  const words = counts(status.jobs) + (status.eta_ms > 0 ? ' · about ' + duration(status.eta_ms) + ' left' : '');
  box.append(head, bar(status.jobs, status.experiment), element('p', words));
  if (Object.keys(status.failures || {}).length) box.append(element('p', 'failed: ' + counts(status.failures), 'trouble'));
  if (Object.keys(status.retries || {}).length) box.append(element('p', 'done again: ' + counts(status.retries), 'quiet'));
  for (const reason of (status.reasons || []).slice(0, 5)) box.append(element('p', reason, 'quiet'));
  return box;
}

// A row for each model and device, a column for each method: the estimate, and what its 95 % interval leaves open.
function grid(name, cells) {
  const methods = [...new Set(cells.map(cell => cell.method))];
  const rows = new Map();
  for (const cell of cells) {
    const place = cell.model + ' · ' + cell.gpu;
    if (!rows.has(place)) rows.set(place, new Map());
    rows.get(place).set(cell.method, cell);
  }
  const lines = [...rows].map(([place, row]) => {
    const line = element('tr');
    line.append(heading(place, 'row'), ...methods.map(method => gridCell(row.get(method))));
    return line;
  });
  return table('Decode tokens/s of ' + name + ', ± half of the 95 % interval', ['model', ...methods], lines, 'grid');
}

function gridCell(cell) {
  if (!cell) return element('td', '–', 'quiet');
  const state = states.slice(1).find(name => cell.states[name]) || 'done';
  const made = element('td', undefined, 'is-' + state);
  const known = cell.estimate && cell.estimate.decode !== null;
  if (known) made.append(element('span', short(cell.estimate.decode)));
  if (known && cell.estimate.low !== null) {
    const half = (cell.estimate.high - cell.estimate.low) / 2 / cell.estimate.decode;
    made.append(element('small', half < 1 ? '±' + Number((100 * half).toPrecision(2)) + ' %' : '± over 100 %'));
    made.title = '95 % ' + short(cell.estimate.low) + ' to ' + short(cell.estimate.high);
  } else if (state === 'done') {
    // Measured, but one window or none of it counts.
    const disturbed = cell.estimate && cell.estimate.disturbed !== null;
    if (disturbed) made.append(element('span', '(' + short(cell.estimate.disturbed) + ')'));
    made.append(element('small', known ? 'no interval' : disturbed ? 'disturbed' : 'no rate'));
  }
  if (state !== 'done') made.append(element('small', counts(cell.states)));
  return made;
}

// What was last known of each experiment's results: shown at once, while new ones are read.
const lastResults = new Map();

function show(box, name) {
  box.querySelectorAll('.results').forEach(old => old.remove());
  const results = lastResults.get(name);
  if (!results) return;
  const part = element('div', undefined, 'results');
  if (results.cells.some(cell => cell.estimate)) part.append(element('p', results.answer, 'answer'));
  part.append(grid(name, results.cells));
  box.append(part);
}

// The results of one experiment, below its bar; not there when the page has no database to read.
async function fill(box, name) {
  const answer = await fetch('results.json?experiment=' + encodeURIComponent(name));
  if (!answer.ok) return;
  lastResults.set(name, await answer.json());
  show(box, name);
}

// "1980 MHz, 59 °C, 468 W": of the last window that was measured there; a CPU tells none of them.
function lastWindow(windows, worker, device) {
  const seen = windows.find(one => one.worker === worker && one.device === device);
  if (!seen) return '';
  const parts = [[seen.sm_clock_mhz, ' MHz'], [seen.temperature_c, ' °C'], [seen.power_w, ' W']]
      .filter(([value]) => value !== null).map(([value, unit]) => Math.round(value) + unit);
  return parts.join(', ') + (seen.flagged ? ' (disturbed)' : '');
}

function worker(status, windows) {
  const row = element('tr');
  const devices = status.devices.map(device => device.id + ' ' + device.name +
      (device.facts && device.facts.set_aside ? ' (set aside: ' + device.facts.set_aside + ')' : '')).join(', ');
  const seen = status.devices.map(device => lastWindow(windows, status.worker, device.id)).filter(text => text);
  const jobs = status.running.map(job => job.key.slice(0, 12)).join(', ');
  row.append(heading(status.worker, 'row'), ...[status.host, status.state, devices, seen.join('; ') || '–', jobs || '–',
      duration(status.silent_ms), status.loads, status.loads_saved].map(text => element('td', text)));
  return row;
}

function workers(list, windows) {
  if (!list.length) return element('p', 'No worker is attached: `bitsweep worker` on a machine adds it.', 'quiet');
  return table('Attached machines', ['worker', 'host', 'state', 'devices', 'last window', 'jobs', 'silent',
                                     'weights loaded', 'loads saved'], list.map(one => worker(one, windows)));
}

// Keeps the keyboard where it is when a part is drawn again.
function replace(box, ...parts) {
  const old = [...box.querySelectorAll('a, [tabindex]')].indexOf(document.activeElement);
  box.replaceChildren(...parts);
  if (old >= 0) [...box.querySelectorAll('a, [tabindex]')][old]?.focus({preventScroll: true});
}

async function draw() {
  const state = document.getElementById('state');
  try {
    const status = await ask('status.json');
    if (status.error) throw new Error(status.error);
    state.textContent = status.state;
    state.className = status.state === 'running' ? '' : 'trouble';
    document.body.classList.remove('stale');
    const boxes = status.experiments.map(experiment);
    status.experiments.forEach((one, i) => show(boxes[i], one.experiment));
    const none = element('p', 'No experiment yet: `bitsweep submit FILE.yaml` sends one.', 'quiet');
    replace(document.getElementById('experiments'), ...(boxes.length ? boxes : [none]));
    tell(status.experiments);
    const windows = await ask('windows.json').catch(() => []);
    replace(document.getElementById('workers'), workers(status.workers, windows));
    await Promise.all(status.experiments.map((one, i) => fill(boxes[i], one.experiment)));
  } catch (failure) {
    const words = failure instanceof TypeError ? 'no answer from the program behind this page' : failure.message;
    state.textContent = words + ' · what stands below is the last that was known';
    state.className = 'trouble';
    document.body.classList.add('stale');
  }
}

// Whoever shows the database hears of new experiments, and of new results every ten seconds.
const told = {names: '', done: -1, at: 0};

function tell(experiments) {
  const names = experiments.map(one => one.experiment).join('\n');
  const done = experiments.reduce((sum, one) => sum + (one.jobs.done || 0), 0);
  const rested = Date.now() - told.at > 10_000;
  if (names !== told.names) document.dispatchEvent(new Event('experiments'));
  else if (done !== told.done && rested) document.dispatchEvent(new Event('results'));
  else return;
  Object.assign(told, {names, done, at: Date.now()});
}

// One drawing at a time, however long a large database takes to read.
async function keepDrawing() {
  await draw();
  setTimeout(keepDrawing, 2000);
}

keepDrawing();
