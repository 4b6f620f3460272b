// The page: buttons, views and what is said. All that trains is in the module that `begin` loads.
import * as store from './store.js';
import { chart, grid, lights, picture, signs } from './pictures.js';

const $ = id => document.getElementById(id);
const SIDE = 28;
const FILES = ['train-images-idx3', 'train-labels-idx1', 't10k-images-idx3', 't10k-labels-idx1'];
const TEST_IMAGES = 1000;
/** Steps of which each loss is read; later ones are read some times a second. */
const ALL_LOSSES = 100;
/** Milliseconds between two losses that are read then, and between two changes of the figures. */
const READ_EVERY = 100;

let page = null, names = [], shown = { index: 0, label: null }, pixels = new Float32Array(SIDE * SIDE);
let curves = null, drawn = null, confusion = null, filters = null, maps = null, cursor = null;
/** For the console, and for tests. */
const training = { loops: 0, turn: work => turn(() => work(page)) };

// --- One call at a time ------------------------------------------------------------------------------------------
// Only what `turn` runs may ask the training for anything: a call that waits has it for itself.

let last = Promise.resolve();
/** Runs `work` when what was asked for before has come to its end. */
const turn = work => (last = last.catch(() => {}).then(work));

/** Lets the page handle what has come, and draw. */
const channel = new MessageChannel();
const breath = () => new Promise(go => { channel.port1.onmessage = go; channel.port2.postMessage(0); });

const told = new Map();
/** Shows a text where it is another than before. */
function show(id, text) {
  if (told.get(id) === text) return;
  told.set(id, text);
  $(id).textContent = text;
}

function say(text, error = false) {
  show('status', text);
  $('status').classList.toggle('error', error);
}

const reasonOf = error => String(error?.message ?? error).replace(/\.?$/, '.');

const GO_ON = 'After a reload the page goes on from what was saved, if anything was.';

function failed(error, advice = GO_ON) {
  running = false;
  buttons();
  say(`${reasonOf(error)} ${advice}`, true);
}

/** Nothing answers any more: the module has panicked, or the page has a defect. */
function broken(error, advice = GO_ON) {
  page = null;
  $('progress').hidden = true;
  failed(error, advice);
}

/** Does what a control asks for, and shows what became of it. */
async function asked(work) {
  try { await turn(async () => { await work(); facts(); }); } catch (error) { failed(error); }
}

// --- Training ----------------------------------------------------------------------------------------------------

let running = false, loop = null, speed = null, lastRead = 0, lastFacts = 0, nextViews = 0;

function start() {
  running = true;
  buttons();
  say('Training.');
  // One that is about to pause, and has not yet, goes on.
  loop ??= train().finally(() => {
    loop = null;
    if (running) start(); else buttons();
  });
}

async function train() {
  training.loops += 1;
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
    await turn(async () => { await save(); readCurves(); facts(); });
    if (!running) say(unkept ? `Paused. ${nothingKept()}` : 'Paused, and saved in this browser.');
  } catch (error) { failed(error); }
  training.loops -= 1;
}

async function step() {
  const ends = await page.step();
  training.updates = page.updates();
  const now = performance.now();
  if (training.updates <= ALL_LOSSES || now - lastRead > READ_EVERY) {
    show('loss', (await page.loss()).toFixed(4));
    lastRead = now;
    readCurves();
  }
  if (ends) {
    await test();
    await save();
  }
  if (now - lastFacts > READ_EVERY) facts();
}

/** What has been recorded. */
function readCurves() {
  curves = { losses: page.losses(), tested: page.curve('test loss'), accuracy: page.curve('test accuracy') };
}

async function test() {
  const [loss, accuracy, ...counts] = await page.test();
  confusion = counts;
  show('accuracy', `${(100 * accuracy).toFixed(1)} %`);
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

/** Starts anew, or from what was kept. */
async function restart(kept) {
  await page.restart(kept?.batch ?? page.batch(), page.rate(), kept?.bytes);
  confusion = speed = null;
  show('loss', '–');
  show('accuracy', '–');
  showConfusion();
  await views();
  readCurves();
}

function facts() {
  lastFacts = performance.now();
  const [updates, batch, rate] = [page.updates(), page.batch(), page.rate()];
  show('adapter', page.adapter());
  show('memory', `${(page.memory() / 2 ** 20).toFixed(1)} MiB`);
  show('steps', updates.toLocaleString('en'));
  show('epoch', `${page.epoch() + 1}, of ${Math.ceil(page.examples() / batch)} steps`);
  const perSecond = milliseconds => Math.round(1000 * batch / milliseconds).toLocaleString('en');
  show('speed', speed ? `${speed.toFixed(speed < 100 ? 1 : 0)} ms, ${perSecond(speed)} images/s` : '–');
  // Not under the visitor's hands.
  if (document.activeElement !== $('rate')) $('rate').value = Math.log10(rate);
  if (document.activeElement !== $('batch')) $('batch').value = String(batch);
  showRate(rate);
  Object.assign(training, { updates, batch, rate });
}

function showRate(rate) {
  const text = String(+rate.toPrecision(2));
  show('rate-shown', text);
  $('rate').setAttribute('aria-valuetext', text);
}

function buttons() {
  for (const control of document.querySelectorAll('button, input, select')) control.disabled = !page;
  show('run', running ? 'Pause' : 'Start');
}

// --- What is kept in this browser --------------------------------------------------------------------------------

/** Why nothing was kept when it was last tried. */
let unkept = null;
const nothingKept = () => `This browser keeps nothing for the page: ${reasonOf(unkept)}`;

/** Saves the training if the browser lets it. It goes on in any case. */
async function save() {
  const bytes = await page.checkpoint();
  try {
    if (overwrites) throw overwrites;
    await store.keep({ batch: page.batch(), bytes });
    unkept = null;
  } catch (error) { unkept = error; }
}

/** Why saving would lose a training that could not be set aside. */
let overwrites = null;

async function showAside() {
  const aside = await store.aside().catch(() => []);
  $('aside').hidden = !aside.length;
}

async function takeBack() {
  const newest = (await store.aside()).at(-1);
  if (!newest) return;
  try { await restart(newest); } catch (error) {
    return say(`It still cannot be gone on from: ${reasonOf(error)}`, true);
  }
  await store.takeBack();
  await showAside();
  say(`Going on from step ${page.updates()}, which had been set aside.`);
}

/** Does something with the storage, and says why it cannot be done. */
const stored = work => asked(async () => {
  try { await work(); } catch (error) { unkept = error; say(nothingKept(), true); }
});

// --- Pictures ----------------------------------------------------------------------------------------------------

function showCurves({ losses, tested, accuracy }) {
  let most = 2.4;
  for (let at = 1; at < losses.length; at += 2) if (losses[at] > most) most = Math.min(losses[at], 10);
  most = 0.4 * Math.ceil(most / 0.4 - 1e-9); // quarters are round numbers
  chart($('loss-curve'), [{ points: losses, name: '--first' }, { points: tested, name: '--second', dots: true }],
    [0, most], value => value.toFixed(2));
  const percent = accuracy.map((value, at) => at % 2 ? 100 * value : value);
  chart($('accuracy-curve'), [{ points: percent, name: '--second', dots: true }], [0, 100], value => `${value} %`);
}

function showMaps() {
  if (!maps) return;
  const second = $('layer').value === '1';
  grid($('maps'), maps, second ? 8 : 24, second ? 16 : 8, lights(Math.max(...maps) || 1));
}

function showFilters() {
  if (!filters) return;
  grid($('filters'), filters, 5, 8, signs(filters.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9)));
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
  table.innerHTML = head + `<tbody>${rows.join('')}</tbody>`;
}

function showClasses(probabilities) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  [...$('classes').children].forEach((row, at) => {
    row.classList.toggle('best', at === best);
    row.classList.toggle('true', at === shown.label);
    row.querySelector('i').style.width = `${100 * probabilities[at]}%`;
    row.querySelector('b').textContent = `${Math.round(100 * probabilities[at])} %`;
  });
}

function showPicture() {
  picture($('drawing'), pixels, SIDE, cursor);
  show('picture-note', shown.label === null
    ? 'Yours: draw with the pointer, or move with the arrow keys and paint with space. The clothes are light on black.'
    : `Test image ${shown.index}: ${names[shown.label]}.`);
}

function choose(index) {
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

/** The image chosen last, and how often one was chosen or drawn: what waits for its turn gives way to what followed. */
let chosen = 0, wishes = 0;

function chooseAndLook(index) {
  chosen = (index + TEST_IMAGES) % TEST_IMAGES;
  const wish = ++wishes;
  return asked(async () => {
    if (wish !== wishes) return;
    choose(chosen);
    await views();
  });
}

function paint(x, y) {
  wishes++;
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
  $('run').onclick = () => { if (running) { running = false; buttons(); } else start(); };
  $('reset').onclick = () => asked(async () => {
    await restart(undefined);
    say('A new network, which has learned nothing yet.');
  });
  $('test').onclick = () => asked(async () => {
    const { loss, accuracy } = await test();
    say(`On the test images: loss ${loss.toFixed(3)}, ${(100 * accuracy).toFixed(1)} % right.`);
  });
  // What a control asks for is read at once: before its turn comes, the page may show what holds as yet.
  $('rate').oninput = () => {
    const rate = 10 ** $('rate').value;
    showRate(rate);
    asked(() => page.set_rate(rate));
  };
  $('batch').onchange = () => {
    const batch = +$('batch').value;
    asked(async () => {
      try { await page.set_batch(batch); } catch (error) {
        $('batch').value = String(page.batch());
        throw error;
      }
      speed = null;
      say(`From now on ${page.batch()} images a step.`);
    });
  };
  $('layer').onchange = () => asked(views);
  $('save').onclick = () => asked(async () => {
    await save();
    if (unkept) say(nothingKept(), true); else say('Saved in this browser.');
  });
  $('forget').onclick = () => stored(async () => {
    await store.forget();
    overwrites = null;
    await showAside();
    say('Nothing is saved any more.');
  });
  $('take-back').onclick = () => stored(takeBack);
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
  $('previous').onclick = () => chooseAndLook(chosen - 1);
  $('next').onclick = () => chooseAndLook(chosen + 1);
  $('random').onclick = () => chooseAndLook(Math.floor(Math.random() * TEST_IMAGES));
  $('clear').onclick = () => { wishes++; pixels.fill(0); shown.label = null; showPicture(); look(); $('drawing').focus(); };
  drawing($('drawing'));

  const again = () => { drawn = null; };
  addEventListener('resize', again);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
  document.addEventListener('visibilitychange', () => { if (document.hidden && running) asked(save); });
  const frame = () => {
    if (curves && drawn !== curves) showCurves(drawn = curves);
    requestAnimationFrame(frame);
  };
  frame();
}

/** Drawing by pointer and by keyboard. */
function drawing(canvas) {
  const at = event => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * SIDE - 0.5, (event.clientY - box.top) / box.height * SIDE - 0.5];
  };
  canvas.onpointerdown = event => {
    if (!page) return;
    canvas.setPointerCapture(event.pointerId);
    paint(...at(event));
  };
  canvas.onpointermove = event => { if (page && event.buttons) paint(...at(event)); };
  canvas.onkeydown = event => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], ' ': [0, 0] };
    const move = moves[event.key];
    if (!page || !move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    cursor ??= { x: SIDE / 2, y: SIDE / 2 };
    const inside = place => Math.min(SIDE - 1, Math.max(0, place));
    cursor = { x: inside(cursor.x + move[0]), y: inside(cursor.y + move[1]) };
    if (event.key === ' ') paint(cursor.x, cursor.y); else showPicture();
  };
  canvas.onblur = () => { cursor = null; showPicture(); };
}

// --- The beginning -----------------------------------------------------------------------------------------------

function missing(reason) {
  for (const section of document.querySelectorAll('main > section')) section.hidden = section.id !== 'missing';
  show('missing-reason', reason);
}

/** What follows the header of an IDX file: a word for its magic number, and one for each axis. */
async function read(name) {
  const answer = await fetch(`data/${name}-ubyte.gz`);
  if (!answer.ok) throw new Error(`${answer.url}: ${answer.status}`);
  const packed = await answer.blob();
  const [first, second] = new Uint8Array(await packed.slice(0, 2).arrayBuffer());
  // Some servers say that it is packed, and the browser has unpacked it.
  const file = (first === 0x1f && second === 0x8b)
    ? await new Response(packed.stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer()
    : await packed.arrayBuffer();
  return new Uint8Array(file).subarray(4 + 4 * new Uint8Array(file)[3]);
}

/** Goes on from what was kept, or begins; gives why it could not go on. */
async function open(Page, files, kept) {
  const compiled = (made, all) => {
    if (page) return; // later ones are few
    say(`Compiling kernels: ${made} of ${all}.`);
    $('progress').value = made / all;
  };
  const opened = kept => Page.open(files, kept?.batch ?? 64, 1e-3, kept?.bytes, compiled);
  try {
    page = await opened(kept);
  } catch (refused) {
    if (!kept) throw refused;
    page = await opened(undefined);
    // What cannot be gone on from today may be tomorrow.
    await store.setAside().catch(error => { overwrites = error; });
    return refused;
  }
}

async function begin() {
  if (!navigator.gpu) return missing('It does not offer navigator.gpu.');
  if (!await navigator.gpu.requestAdapter()) return missing('It knows WebGPU, but has no adapter to offer.');
  say('Reading the program and the pictures…');
  const [module, files, kept] = await Promise.all([
    import('./wgpu_cnn_web.js').then(async module => ({ ...module, shell: await module.default() })),
    Promise.all(FILES.map(read)),
    store.kept().catch(() => undefined),
  ]);
  names = module.classes();
  $('classes').innerHTML = names.map(name => `<li><span>${name}</span><i></i><b>–</b></li>`).join('');
  showConfusion();
  const begun = performance.now();
  const refused = await open(module.Page, files, kept);
  const ready = performance.now() - begun;
  $('progress').hidden = true;
  controls();
  buttons();
  await turn(async () => { choose(0); await views(); readCurves(); facts(); });
  await showAside();
  if (overwrites) say(`What was saved cannot be gone on from, nor set aside, so nothing is saved over it: ${reasonOf(refused)}`, true);
  else if (refused) say(`What was saved cannot be gone on from, and is set aside: ${reasonOf(refused)}`, true);
  else if (kept) say(`Going on from step ${training.updates}, which was saved here.`);
  else say(`Ready, in ${(ready / 1000).toFixed(1)} s.`);
  globalThis.training = Object.assign(training, { ready, memory: module.shell.memory });
}

addEventListener('error', event => broken(event.error ?? event.message));
addEventListener('unhandledrejection', event => broken(event.reason));
begin().catch(error => broken(error, 'The page could not begin: a reload may help.'));
