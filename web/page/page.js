// The page: buttons, pictures and storage. All that trains is in the module that it loads.
import init, { Page, classes } from './wgpu_cnn_web.js';

const $ = id => document.getElementById(id);
const SIDE = 28;
const FILES = ['train-images-idx3', 'train-labels-idx1', 't10k-images-idx3', 't10k-labels-idx1'];
const TEST_IMAGES = 1000;
/** Steps of which each loss is read; later ones are read some times a second. */
const ALL_LOSSES = 100;
/** Milliseconds between two losses that are read then. */
const READ_EVERY = 100;

let page, names, running = false, shown = { index: 0, label: null }, pixels = new Float32Array(SIDE * SIDE);
let curves = null, drawn = null, confusion = null, filters = null, maps = null, cursor = null;
/** For the console, and for tests. */
const training = { turn: work => turn(() => work(page)) };

// --- One call at a time ------------------------------------------------------------------------------------------
// Only what `turn` runs may ask the training for anything: a call that waits has it for itself.

let last = Promise.resolve();
/** Runs `work` when what was asked for before has come to its end. */
const turn = work => (last = last.catch(() => {}).then(work));

/** Lets the page handle what has come, and draw. */
const channel = new MessageChannel();
const breath = () => new Promise(go => { channel.port1.onmessage = go; channel.port2.postMessage(0); });

function say(text, error = false) {
  $('status').textContent = text;
  $('status').classList.toggle('error', error);
}

function failed(error) {
  running = false;
  buttons();
  say(`${error.message ?? error} After a reload the page goes on from what was saved.`, true);
}

/** Does what a control asks for, and shows what became of it. */
async function asked(work) {
  try { await turn(async () => { await work(); facts(); }); } catch (error) { failed(error); }
}

// --- Training ----------------------------------------------------------------------------------------------------

let speed = null, lastRead = 0, nextViews = 0;

async function train() {
  running = true;
  buttons();
  say('Training.');
  let since = performance.now(), steps = 0;
  try {
    while (running) {
      await turn(step);
      const now = performance.now();
      steps += 1;
      if (now - since > 500) {
        speed = (now - since) / steps;
        [since, steps] = [now, 0];
      }
      if (now > nextViews) {
        await turn(views);
        const after = performance.now();
        // Looking must not take more than a small part of the time.
        nextViews = after + Math.max(700, 6 * (after - now));
        since += after - now;
      }
      await breath();
    }
    await turn(async () => { await save(); facts(); });
    say('Paused, and saved in this browser.');
  } catch (error) { failed(error); }
  buttons();
}

async function step() {
  const begins = await page.step();
  const now = performance.now();
  if (page.updates() <= ALL_LOSSES || now - lastRead > READ_EVERY) {
    $('loss').textContent = (await page.loss()).toFixed(4);
    lastRead = now;
    readCurves();
  }
  if (begins) {
    await test();
    await save();
  }
  facts();
}

/** What has been recorded. */
function readCurves() {
  curves = { losses: page.losses(), tested: page.curve('test loss'), accuracy: page.curve('test accuracy') };
}

async function test() {
  const [loss, accuracy, ...counts] = await page.test();
  confusion = counts;
  $('accuracy').textContent = `${(100 * accuracy).toFixed(1)} %`;
  showConfusion();
  readCurves();
  return { loss, accuracy };
}

/** What changes with the weights. */
async function views() {
  filters = await page.filters();
  maps = await page.maps(pixels, +$('layer').value);
  showClasses(await page.classify(pixels));
  showMaps();
  showFilters();
}

async function reset() {
  await page.restart(page.batch(), page.rate(), undefined);
  confusion = null;
  speed = null;
  ['loss', 'accuracy'].forEach(id => { $(id).textContent = '–'; });
  showConfusion();
  await views();
  readCurves();
  say('A new network, which has learned nothing yet.');
}

function facts() {
  const [updates, batch, rate] = [page.updates(), page.batch(), page.rate()];
  $('adapter').textContent = page.adapter();
  $('memory').textContent = `${(page.memory() / 2 ** 20).toFixed(1)} MiB`;
  $('steps').textContent = updates;
  $('epoch').textContent = `${page.epoch() + 1} (of ${Math.ceil(page.examples() / batch)} steps)`;
  $('speed').textContent = speed ? `${speed.toFixed(1)} ms, ${Math.round(1000 * batch / speed)} images/s` : '–';
  if (document.activeElement !== $('rate')) $('rate').value = Math.log10(rate);
  $('rate-shown').textContent = rate.toPrecision(2);
  $('batch').value = String(batch);
  Object.assign(training, { updates, batch, rate });
}

function buttons() {
  for (const control of document.querySelectorAll('button, input, select')) control.disabled = !page;
  $('run').textContent = running ? 'Pause' : 'Start';
}

// --- What is kept in this browser --------------------------------------------------------------------------------

const store = mode => new Promise((found, failed) => {
  const opening = indexedDB.open('wgpu-cnn', 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore('kept');
  opening.onerror = () => failed(opening.error);
  opening.onsuccess = () => {
    const transaction = opening.result.transaction('kept', mode);
    transaction.oncomplete = () => opening.result.close();
    found(transaction.objectStore('kept'));
  };
});
const done = request => new Promise((found, failed) => {
  request.onsuccess = () => found(request.result);
  request.onerror = () => failed(request.error);
});

async function save() {
  const kept = { batch: page.batch(), bytes: await page.checkpoint() };
  await done((await store('readwrite')).put(kept, 'training'));
}
const saved = async () => done((await store('readonly')).get('training'));
const forget = async () => done((await store('readwrite')).delete('training'));

// --- Pictures ----------------------------------------------------------------------------------------------------

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Draws lines of points (x, y) with axes, as sharp as the screen is. */
function chart(canvas, lines, [low, high], label) {
  const scale = devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
  if (!width) return;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  context.font = '12px system-ui, sans-serif';
  const [left, right, top, bottom] = [44, width - 8, 8, height - 22];
  const longest = Math.max(10, ...lines.map(({ points }) => points.at(-2) ?? 0));
  const x = step => left + (right - left) * step / longest;
  const y = value => bottom - (bottom - top) * (Math.min(Math.max(value, low), high) - low) / (high - low);
  context.strokeStyle = colour('--line');
  context.fillStyle = colour('--soft');
  context.textAlign = 'right';
  for (let tick = 0; tick <= 4; tick++) {
    const value = low + (high - low) * tick / 4;
    context.beginPath();
    context.moveTo(left, y(value));
    context.lineTo(right, y(value));
    context.stroke();
    context.fillText(label(value), left - 6, y(value) + 4);
  }
  context.fillText(`${longest} steps`, right, height - 5);
  for (const { points, name, dots } of lines) {
    context.strokeStyle = context.fillStyle = colour(name);
    context.lineWidth = 1.8;
    context.beginPath();
    // The mean of what falls on a column of the screen.
    for (let at = 0; at < points.length;) {
      const column = Math.round(x(points[at]));
      let sum = 0, count = 0;
      for (; at < points.length && Math.round(x(points[at])) === column; at += 2) { sum += points[at + 1]; count++; }
      context.lineTo(column, y(sum / count));
      if (dots) context.fillRect(column - 2, y(sum / count) - 2, 4, 4);
    }
    context.stroke();
  }
}

function showCurves({ losses, tested, accuracy }) {
  let most = 2.4;
  for (let at = 1; at < losses.length; at += 2) if (losses[at] > most) most = Math.min(losses[at], 10);
  chart($('loss-curve'), [{ points: losses, name: '--first' }, { points: tested, name: '--second', dots: true }],
    [0, most], value => value.toFixed(2));
  const percent = accuracy.map((value, at) => at % 2 ? 100 * value : value);
  chart($('accuracy-curve'), [{ points: percent, name: '--second', dots: true }], [0, 100], value => `${value} %`);
}

/** Planes of `side` x `side` values as a grid; `paint` gives the colour of a value. */
function grid(canvas, values, side, columns, paint) {
  const count = values.length / (side * side), rows = Math.ceil(count / columns), each = side + 1;
  [canvas.width, canvas.height] = [columns * each - 1, rows * each - 1];
  const context = canvas.getContext('2d'), image = context.createImageData(canvas.width, canvas.height);
  for (let at = 0; at < values.length; at++) {
    const plane = Math.floor(at / (side * side)), inside = at % (side * side);
    const column = plane % columns * each + inside % side;
    const row = Math.floor(plane / columns) * each + Math.floor(inside / side);
    image.data.set([...paint(values[at], plane), 255], 4 * (row * canvas.width + column));
  }
  context.putImageData(image, 0, 0);
}

function showMaps() {
  if (!maps) return;
  const second = $('layer').value === '1', most = Math.max(...maps) || 1;
  grid($('maps'), maps, second ? 8 : 24, second ? 16 : 8, value => {
    const light = 255 * Math.sqrt(value / most);
    return [light, light, light];
  });
}

function showFilters() {
  if (!filters) return;
  const most = filters.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
  grid($('filters'), filters, 5, 8, value => {
    const share = value / most, rest = 255 * (1 - Math.abs(share));
    return share > 0 ? [255, rest, rest] : [rest, rest, 255];
  });
}

function showConfusion() {
  const table = $('confusion'), most = confusion ? TEST_IMAGES / names.length : 1;
  const head = `<thead><tr><td></td>${names.map(name => `<th scope="col">${name}</th>`).join('')}</tr></thead>`;
  const rows = names.map((name, row) => {
    const cells = names.map((_, column) => {
      const count = confusion ? confusion[row * names.length + column] : 0;
      const share = Math.min(60, 70 * count / most);
      const tint = `color-mix(in srgb, var(${row === column ? '--first' : '--second'}) ${share}%, transparent)`;
      return `<td style="background:${tint}">${confusion ? count : ''}</td>`;
    });
    return `<tr><th scope="row">${name}</th>${cells.join('')}</tr>`;
  });
  table.innerHTML = table.caption.outerHTML + head + `<tbody>${rows.join('')}</tbody>`;
}

function showClasses(probabilities) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  [...$('classes').children].forEach((row, at) => {
    row.classList.toggle('true', at === shown.label);
    row.querySelector('i').style.width = `${100 * probabilities[at]}%`;
    row.querySelector('b').textContent = `${Math.round(100 * probabilities[at])} %`;
    row.querySelector('span').textContent = (at === best ? '▸ ' : '') + names[at];
  });
}

function showPicture() {
  const context = $('drawing').getContext('2d'), image = context.createImageData(SIDE, SIDE);
  pixels.forEach((value, at) => image.data.set([255 * value, 255 * value, 255 * value, 255], 4 * at));
  if (cursor) image.data.set([240, 130, 60, 255], 4 * (cursor.y * SIDE + cursor.x));
  context.putImageData(image, 0, 0);
  $('picture-note').textContent = shown.label === null
    ? 'Yours: draw with the pointer, or move with the arrow keys and paint with space. The clothes are light on black.'
    : `Test image ${shown.index}: ${names[shown.label]}.`;
}

function choose(index) {
  index = (index + TEST_IMAGES) % TEST_IMAGES;
  const found = page.test_image(index);
  shown = { index, label: found[SIDE * SIDE] };
  pixels = found.slice(0, SIDE * SIDE);
  showPicture();
}

let looking = false;
/** Shows what the network makes of the picture, once however fast it changes. */
async function look() {
  if (looking) return;
  looking = true;
  await asked(async () => { looking = false; await views(); });
}

const chooseAndLook = index => asked(async () => { choose(index); await views(); });

function paint(x, y) {
  for (let row = 0; row < SIDE; row++) for (let column = 0; column < SIDE; column++) {
    const light = Math.max(0, 1.3 - Math.hypot(column - x, row - y) * 0.6);
    pixels[row * SIDE + column] = Math.min(1, Math.max(pixels[row * SIDE + column], light));
  }
  shown.label = null;
  showPicture();
  look();
}

// --- Controls ----------------------------------------------------------------------------------------------------

function controls() {
  $('run').onclick = () => { if (running) running = false; else train(); };
  $('reset').onclick = () => asked(reset);
  $('test').onclick = () => asked(async () => {
    const { loss, accuracy } = await test();
    say(`On the test images: loss ${loss.toFixed(3)}, ${(100 * accuracy).toFixed(1)} % right.`);
  });
  // What a control asks for is read at once: before its turn comes, the page may show what holds as yet.
  $('rate').oninput = () => {
    const rate = 10 ** $('rate').value;
    asked(() => page.set_rate(rate));
  };
  $('batch').onchange = () => {
    const batch = +$('batch').value;
    asked(async () => {
      await page.set_batch(batch);
      speed = null;
      say(`From now on ${page.batch()} images a step.`);
    });
  };
  $('layer').onchange = () => asked(views);
  $('save').onclick = () => asked(async () => { await save(); say('Saved in this browser.'); });
  $('forget').onclick = () => asked(async () => { await forget(); say('Nothing is saved any more.'); });
  $('download').onclick = () => asked(async () => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([await page.weights()], { type: 'application/octet-stream' }));
    link.download = 'weights.safetensors';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
  $('upload').onchange = () => asked(async () => {
    const [file] = $('upload').files;
    if (!file) return;
    try {
      const count = await page.load(new Uint8Array(await file.arrayBuffer()));
      await views();
      say(`${count} tensors read from ${file.name}.`);
    } catch (error) { say(error.message, true); } // nothing has changed
    $('upload').value = '';
  });
  $('previous').onclick = () => chooseAndLook(shown.index - 1);
  $('next').onclick = () => chooseAndLook(shown.index + 1);
  $('random').onclick = () => chooseAndLook(Math.floor(Math.random() * TEST_IMAGES));
  $('clear').onclick = () => { pixels.fill(0); shown.label = null; showPicture(); look(); $('drawing').focus(); };

  const drawing = $('drawing');
  const at = event => {
    const box = drawing.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * SIDE - 0.5, (event.clientY - box.top) / box.height * SIDE - 0.5];
  };
  drawing.onpointerdown = event => { drawing.setPointerCapture(event.pointerId); paint(...at(event)); };
  drawing.onpointermove = event => { if (event.buttons) paint(...at(event)); };
  drawing.onkeydown = event => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], ' ': [0, 0] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    cursor ??= { x: SIDE / 2, y: SIDE / 2 };
    const inside = place => Math.min(SIDE - 1, Math.max(0, place));
    cursor = { x: inside(cursor.x + move[0]), y: inside(cursor.y + move[1]) };
    if (event.key === ' ') paint(cursor.x, cursor.y); else showPicture();
  };
  drawing.onblur = () => { cursor = null; showPicture(); };

  const again = () => { drawn = null; };
  addEventListener('resize', again);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
  document.addEventListener('visibilitychange', () => { if (document.hidden && running) asked(save); });
  const frame = () => {
    if (drawn !== curves) showCurves(drawn = curves);
    requestAnimationFrame(frame);
  };
  frame();
}

// --- The beginning -----------------------------------------------------------------------------------------------

function missing(reason) {
  for (const section of document.querySelectorAll('main > section')) section.hidden = section.id !== 'missing';
  $('missing-reason').textContent = reason;
}

async function begin() {
  const shell = await init();
  names = classes();
  $('classes').innerHTML = names.map(name => `<li><span>${name}</span><i></i><b>–</b></li>`).join('');
  showConfusion();
  if (!navigator.gpu) return missing('It does not offer navigator.gpu.');
  if (!await navigator.gpu.requestAdapter()) return missing('It knows WebGPU, but has no adapter to offer.');
  say('Reading the pictures…');
  const files = await Promise.all(FILES.map(async name => {
    const answer = await fetch(`data/${name}-ubyte.gz`);
    if (!answer.ok) throw new Error(`${answer.url}: ${answer.status}.`);
    return new Uint8Array(await answer.arrayBuffer());
  }));
  const kept = await saved().catch(() => undefined);
  const compiled = (made, all) => {
    if (page) return; // later ones are few
    say(`Compiling kernels: ${made} of ${all}.`);
    $('progress').value = made / all;
  };
  const open = kept => Page.open(files, kept?.batch ?? 64, 1e-3, kept?.bytes, compiled);
  let refused = null;
  const begun = performance.now();
  page = await open(kept).catch(error => {
    if (!kept) throw error;
    refused = error;
    return open(undefined);
  });
  const ready = performance.now() - begun;
  $('progress').hidden = true;
  controls();
  buttons();
  await chooseAndLook(0);
  await turn(readCurves);
  if (refused) say(`What was saved cannot be gone on from: ${refused.message}`, true);
  else if (kept) say(`Going on from step ${training.updates}, which was saved here.`);
  else say(`Ready, in ${(ready / 1000).toFixed(1)} s.`);
  globalThis.training = Object.assign(training, { ready, memory: shell.memory });
}

begin().catch(error => { failed(error); $('progress').hidden = true; });
