// Any view of the database as a plot and a table.
'use strict';

const most = {plotted: 2000, listed: 200};
const by = id => document.getElementById(id);
let rows = [];

function options(select, values, chosen) {
  const before = chosen !== undefined ? chosen : select.value;
  select.replaceChildren(...values.map(value => {
    const made = element('option', value);
    made.value = value;
    return made;
  }));
  if (values.includes(before)) select.value = before;
}

function columns(kind) {
  return Object.keys(rows[0] || {}).filter(name => {
    const values = rows.map(row => row[name]).filter(value => value !== null);
    return values.length && (!kind || values.every(value => typeof value === kind));
  });
}

// The columns that most people ask for, where a view has them; what was chosen stays where rows are only new.
function choose(again) {
  const numbers = columns('number'), texts = columns('string');
  const first = (wanted, all) => again ? undefined : wanted.find(name => all.includes(name)) || all[0] || '';
  options(by('across'), columns(), first(['model', 'bits', 'device', 'metric'], columns()));
  options(by('up'), numbers, first(['speedup', 'decode_tokens_per_s', 'kl_mean', 'ledger_bytes', 'value'], numbers));
  options(by('colour'), ['', ...texts], first(['method', 'device', 'tool'], texts));
}

// Where a value stands from 0 to 1: numbers by size, words in the order of their first row.
function scale(values, logarithmic) {
  if (values.some(value => typeof value !== 'number')) {
    const names = [...new Set(values.map(short))];
    return {ticks: names.map((name, i) => [(i + 0.5) / names.length, name]),
            at: value => (names.indexOf(short(value)) + 0.5) / names.length, words: true};
  }
  const move = logarithmic ? Math.log10 : value => value;
  let low = move(Math.min(...values)), high = move(Math.max(...values));
  const margin = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
  low -= margin;
  high += margin;
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(n => n * power).find(n => n >= rough);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; ++i) {
    ticks.push([(i * step - low) / (high - low), short(logarithmic ? 10 ** (i * step) : Number((i * step).toPrecision(12)))]);
  }
  return {ticks, at: value => (move(value) - low) / (high - low)};
}

function frame(svg, across, up, size) {
  for (const [place, text] of up.ticks) {
    const y = size.bottom - place * (size.bottom - size.top);
    svg.append(shape('line', {x1: size.left, x2: size.right, y1: y, y2: y, class: 'rule'}),
               shape('text', {x: size.left - 6, y: y + 4, class: 'end'}, text));
  }
  const every = Math.ceil(across.ticks.length / 40);
  across.ticks.forEach(([place, text], i) => {
    const x = size.left + place * (size.right - size.left);
    svg.append(shape('line', {x1: x, x2: x, y1: size.top, y2: size.bottom, class: 'rule'}));
    if (i % every) return;
    svg.append(across.words && across.ticks.length > 4
        ? shape('text', {transform: `translate(${x + 4} ${size.bottom + 14}) rotate(-35)`, class: 'end'}, text)
        : shape('text', {x, y: size.bottom + 16, class: 'middle'}, text));
  });
}

function legend(names) {
  const made = element('p', undefined, 'legend');
  names.forEach((name, i) => {
    const key = element('span', name, 'key');
    key.prepend(element('i', undefined, 'c' + i % 8));
    made.append(key);
  });
  return made;
}

function plot() {
  const [x, y, colour] = [by('across').value, by('up').value, by('colour').value];
  const logarithmic = by('log').checked;
  const shown = rows.filter(row => row[x] !== null && typeof row[y] === 'number' && (!logarithmic || row[y] > 0));
  if (!shown.length) return [element('p', rows.length ? 'Nothing to plot: choose other columns.' : '', 'quiet')];
  const across = scale(shown.map(row => row[x]), false), up = scale(shown.map(row => row[y]), logarithmic);
  const names = colour ? [...new Set(shown.map(row => short(row[colour])))] : [];
  const size = {left: 70, right: 980, top: 10, bottom: across.words && across.ticks.length > 4 ? 300 : 350};
  const svg = shape('svg', {viewBox: '0 0 1000 400', role: 'img', 'aria-label': `${y} against ${x}, ${shown.length} rows`});
  frame(svg, across, up, size);
  for (const row of shown) {
    const series = Math.max(0, names.indexOf(short(row[colour])));
    const dot = shape('circle', {cx: size.left + across.at(row[x]) * (size.right - size.left), r: 4,
                                 cy: size.bottom - up.at(row[y]) * (size.bottom - size.top), class: 'mark c' + series % 8});
    dot.append(shape('title', {}, [row[x], row[colour], row[y]].filter(v => v !== undefined).map(short).join(' · ')));
    svg.append(dot);
  }
  svg.append(shape('text', {x: 525, y: 395, class: 'middle'}, x),
             shape('text', {transform: 'translate(14 175) rotate(-90)', class: 'middle'}, y));
  return names.length > 1 ? [legend(names), svg] : [svg];
}

function list() {
  if (!rows.length) return element('p', 'No row.', 'quiet');
  const names = Object.keys(rows[0]);
  const lines = rows.slice(0, most.listed).map(row => {
    const line = element('tr');
    line.append(...names.map(name => element('td', short(row[name]), typeof row[name] === 'number' ? 'number' : '')));
    return line;
  });
  const cut = rows.length > most.listed ? `, the first ${most.listed} of ${rows.length === most.plotted ? 'many' : rows.length}` : '';
  return table(by('view').value + cut, names, lines);
}

function redraw() {
  by('plot').replaceChildren(...plot());
}

async function look(again) {
  const name = by('view').value, of = by('of').value;
  if (!name) return;
  try {
    const before = rows.length;
    rows = await ask('view.json?name=' + encodeURIComponent(name) + '&experiment=' + encodeURIComponent(of));
    by('about').textContent = by('view').selectedOptions[0].title + '. All of it: bitsweep query --view ' + name;
    choose(again && before);
    redraw();
    by('rows').replaceChildren(list());
  } catch (failure) {
    by('about').textContent = failure.message;
    by('plot').replaceChildren();
    by('rows').replaceChildren();
  }
}

// The lists of views and experiments; without a database this part of the page has nothing to show.
async function offer() {
  const known = await ask('views.json').catch(() => null);
  by('look').parentElement.hidden = !known;
  if (!known) return;
  options(by('view'), known.views.map(one => one.view), by('view').value || 'v_speedup');
  [...by('view').options].forEach((option, i) => option.title = known.views[i].about);
  options(by('of'), ['', ...known.experiments]);
  by('of').options[0].textContent = 'all';
  await look(false);
}

for (const id of ['view', 'of']) by(id).addEventListener('change', () => look(false));
for (const id of ['across', 'up', 'colour', 'log']) by(id).addEventListener('change', redraw);
by('look').addEventListener('submit', event => event.preventDefault());
document.addEventListener('experiments', offer);
document.addEventListener('results', () => look(true));
offer();
