// Drives the page in headless Chromium: node test.mjs SITE PUPPETEER LOSSES SCREENSHOTS. LOSSES is what the native
// program printed. CHROMIUM_FLAGS are more flags for Chromium, PARTS, with commas between them, the parts of the test
// that are run, where not all are, and STEPS the losses that are compared, 30 unless it says otherwise. The exit code says all.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import zlib from 'node:zlib';
import { pathToFileURL } from 'node:url';

const [site, puppeteerAt, lossesAt, screenshots] = process.argv.slice(2);
const { default: puppeteer } = await import(
  pathToFileURL(path.join(puppeteerAt, 'lib/esm/puppeteer/puppeteer-core.js')).href
);
const native = fs.readFileSync(lossesAt, 'utf8').trim().split('\n');
const FIRST = Number(process.env.STEPS ?? 30), PATIENCE = 180_000;
/** Losses that are compared after a reload. */
const THEN = Math.min(8, FIRST);
/** Images that `small` trains on, in epochs of four steps. */
const FEW = 256;

const failures = [];
function check(what, holds, detail = '') {
  console.log(`${holds ? 'ok  ' : 'FAIL'} ${what}${detail === '' ? '' : `: ${detail}`}`);
  if (!holds) failures.push(what);
}

const types = { html: 'text/html', css: 'text/css', js: 'text/javascript', wasm: 'application/wasm' };
const server = http.createServer((request, response) => {
  const asked = decodeURIComponent(new URL(request.url, 'http://page').pathname);
  const name = asked.replace(/^\/small\//, '/');
  const file = path.join(site, name.endsWith('/') ? `${name}index.html` : name);
  fs.readFile(file, (error, bytes) => {
    const data = /\/train-(images|labels)-idx.-ubyte.gz$/.exec(name);
    if (data && asked !== name && !error) {
      bytes = zlib.gunzipSync(bytes).subarray(0, data[1] === 'labels' ? 8 + FEW : 16 + 784 * FEW);
    }
    response.writeHead(error ? 404 : 200, {
      'content-type': types[path.extname(file).slice(1)] ?? 'application/octet-stream',
    });
    response.end(bytes);
  });
});
await new Promise(ready => server.listen(0, '127.0.0.1', ready));
const address = `http://127.0.0.1:${server.address().port}/`;
/** The same with few images. */
const small = `${address}small/`;

const launch = flags => puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  protocolTimeout: 2 * PATIENCE,
  args: ['--no-sandbox', ...flags, ...(process.env.CHROMIUM_FLAGS ?? '').split(' ').filter(Boolean)],
});

/**
 * A page whose errors and warnings fail the test, with what a script does to it before its own, in a context of its
 * own where `apart`; `blocked` is what does not come, and `complains` whether it may.
 */
async function opened(browser, width, { script, blocked, complains = false, apart = false } = {}) {
  const context = apart ? await browser.createBrowserContext() : browser;
  const page = await context.newPage();
  await page.setViewport({ width, height: 900 });
  if (blocked) {
    await page.setRequestInterception(true);
    page.on('request', request => blocked.test(request.url()) ? request.abort() : request.continue());
  }
  if (script) await page.evaluateOnNewDocument(script);
  page.setDefaultTimeout(PATIENCE);
  await page.evaluateOnNewDocument(watch);
  if (complains) return page;
  page.on('console', message => {
    const kind = message.type();
    if (kind === 'error' || kind === 'warn') check(`the console is silent`, false, `${kind}: ${message.text()}`);
  });
  page.on('pageerror', error => check('no error is left to the page', false, error.stack ?? error.message));
  page.on('requestfailed', request => check('every file comes', false, request.url()));
  page.on('response', answer => { if (!answer.ok()) check('every file is there', false, `${answer.status()} ${answer.url()}`); });
  return page;
}

/** What runs in each page before its own scripts. */
function watch() {
  // The longest that the page's own work kept it from drawing, and the longest between two frames.
  globalThis.longest = { task: 0, frame: 0 };
  new PerformanceObserver(list => {
    for (const entry of list.getEntries()) longest.task = Math.max(longest.task, entry.duration);
  }).observe({ type: 'longtask', buffered: true });
  // By a copy: Chromium warns of canvases that are read often.
  globalThis.pixelsOf = canvas => {
    const context = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
    context.drawImage(canvas, 0, 0);
    return context.getImageData(0, 0, canvas.width, canvas.height).data;
  };
  let last = performance.now();
  const frame = now => { longest.frame = Math.max(longest.frame, now - last); last = now; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
  // Bytes of buffers that are there.
  globalThis.bufferBytes = 0;
  if (!globalThis.GPUDevice) return;
  const sizes = new WeakMap();
  const { createBuffer } = GPUDevice.prototype, { destroy } = GPUBuffer.prototype;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    sizes.set(buffer, descriptor.size);
    bufferBytes += descriptor.size;
    return buffer;
  };
  GPUBuffer.prototype.destroy = function () {
    bufferBytes -= sizes.get(this) ?? 0;
    sizes.delete(this);
    return destroy.call(this);
  };
}

async function ready(page) {
  await page.waitForFunction('globalThis.training || document.querySelector("#status.error")');
  if (!await page.evaluate('!!globalThis.training')) throw new Error(await status(page));
}
const status = page => page.$eval('#status', element => element.textContent);
const saying = (page, words) => page.waitForFunction(
  words => document.querySelector('#status').textContent.includes(words), {}, words);
const click = (page, id) => page.$eval(id, element => element.click());
const losses = page => page.evaluate(() => training.turn(page => [...page.losses()]));
/** Trains until so many updates are made, and pauses. */
async function trainUntil(page, updates) {
  await click(page, '#run');
  await page.waitForFunction(updates => training.updates >= updates, { polling: 20 }, updates);
  if (await page.$eval('#run', element => element.textContent) === 'Pause') await click(page, '#run');
  await saying(page, 'Paused');
}
const bits = value => {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  return view.getUint32(0).toString(16).padStart(8, '0');
};
/** Whether all losses are those of the native program, and how many there are. */
function compare(what, points, atLeast) {
  const updates = points.filter((_, at) => at % 2 === 0), values = points.filter((_, at) => at % 2 === 1);
  const wrong = updates.findIndex((update, at) => bits(values[at]) !== native[update - 1]);
  check(what, wrong < 0 && updates.length >= atLeast,
    wrong < 0 ? `${updates.length} losses` : `step ${updates[wrong]}: ${bits(values[wrong])}, not ${native[updates[wrong] - 1]}`);
}

async function trains(browser) {
  const page = await opened(browser, 1280, { apart: true });
  const begun = Date.now();
  await page.goto(address);
  await ready(page);
  console.log(`     ${await status(page)} ${Date.now() - begun} ms from the address`);
  check('it says what it runs on', /software driver/.test(await page.$eval('#adapter', element => element.textContent)));
  await page.evaluate(() => { longest.task = longest.frame = 0; });
  const before = Date.now();
  await trainUntil(page, FIRST);
  const made = await page.evaluate(() => training.updates);
  console.log(`     ${((Date.now() - before) / made).toFixed(1)} ms a step with all views;`,
    JSON.stringify(await page.evaluate(() => longest)));
  compare('the losses are the native ones, bit for bit', await losses(page), FIRST);

  await page.reload();
  await ready(page);
  check('a reload goes on', (await status(page)).startsWith(`Going on from step ${made}`), await status(page));
  await trainUntil(page, made + THEN);
  compare('with the same bits', await losses(page), made + THEN);
  await page.browserContext().close();
}

/** A page of few images in a context of its own. */
async function fresh(browser) {
  const page = await opened(browser, 1280, { apart: true });
  await page.goto(small);
  await ready(page);
  return page;
}

async function controls(browser, folder) {
  const page = await fresh(browser);
  await click(page, '#test');
  await saying(page, 'On the test images');
  const counted = await page.$$eval('#confusion tbody td', cells => cells.reduce((sum, cell) => sum + Number(cell.textContent), 0));
  check('the confusion matrix counts every test image', counted === 1000, counted);
  const names = ['#filters', '#maps', '#loss-curve', '#accuracy-curve', '#drawing'];
  for (const name of names) {
    const colours = await page.$eval(name, canvas => {
      const data = pixelsOf(canvas);
      return new Set(new Uint32Array(data.buffer)).size;
    });
    check(`${name} shows something`, colours > 2, `${colours} colours`);
  }
  await click(page, '#next');
  await page.waitForFunction(() => document.querySelector('#picture-note').textContent.startsWith('Test image 1:'));
  const haste = async (...ids) => {
    await page.evaluate(ids => { for (const id of ids) document.querySelector(id).click(); }, ids);
    await page.evaluate(() => training.turn(() => {}));
    return page.$eval('#picture-note', element => element.textContent);
  };
  const third = await haste('#next', '#next');
  check('two clicks at once go two images on', third.startsWith('Test image 3:'), third);
  const own = await haste('#previous', '#random', '#clear');
  check('a drawing is not replaced by an image that was chosen before it', own.startsWith('Yours'), own);
  await haste('#random');
  const widthBefore = await page.$eval('#maps', canvas => canvas.width);
  await page.select('#layer', '1');
  await page.waitForFunction(before => document.querySelector('#maps').width !== before, {}, widthBefore);
  await page.select('#layer', '0');

  // Drawing, by pointer and by keyboard.
  await click(page, '#clear');
  const box = await (await page.$('#drawing')).boundingBox();
  await page.mouse.move(box.x + box.width / 3, box.y + box.height / 3);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2, { steps: 6 });
  await page.mouse.up();
  const light = () => page.$eval('#drawing', canvas => {
    const data = pixelsOf(canvas);
    return data.filter((value, at) => at % 4 === 0 && value > 100).length;
  });
  const drawn = await light();
  check('a drawing is drawn', drawn > 8, `${drawn} pixels`);
  await page.focus('#drawing');
  for (const key of ['ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowDown', 'Space']) await page.keyboard.press(key);
  await page.$eval('#drawing', element => element.blur());
  check('and by keyboard', await light() > drawn, `${await light()} pixels`);
  await page.waitForFunction(() => {
    const shares = [...document.querySelectorAll('#classes b')].map(element => parseInt(element.textContent));
    return Math.abs(shares.reduce((sum, share) => sum + share) - 100) < 8;
  });
  check('it has classes', true);

  // Learning rate and batch while it runs.
  await click(page, '#run');
  await page.$eval('#rate', element => { element.value = '-2.5'; element.dispatchEvent(new Event('input')); });
  await page.waitForFunction(() => Math.abs(training.rate - 10 ** -2.5) < 1e-9);
  await page.select('#batch', '16');
  await page.waitForFunction(() => training.batch === 16);
  const before = await page.evaluate(() => training.updates);
  await page.waitForFunction(before => training.updates > before + 3, {}, before);
  check('learning rate and batch change while it runs', await page.$eval('#run', element => element.textContent) === 'Pause');
  await click(page, '#run');
  await saying(page, 'Paused');

  // Weights to a file and back.
  const session = await page.createCDPSession();
  await session.send('Page.setDownloadBehavior', { behavior: 'allow', downloadPath: folder });
  const file = path.join(folder, 'weights.safetensors');
  fs.rmSync(file, { force: true });
  await click(page, '#download');
  for (let wait = 0; wait < 100 && !fs.existsSync(file); wait++) await new Promise(go => setTimeout(go, 100));
  const bytes = fs.readFileSync(file);
  const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))));
  check('the weights are a safetensors file', header['0.weight']?.shape.join() === '32,1,5,5', Object.keys(header).join(' '));
  const filters = () => page.evaluate(() => training.turn(async page => (await page.filters()).join()));
  const trained = await filters();

  await click(page, '#save');
  await saying(page, 'Saved');
  await click(page, '#reset');
  await saying(page, 'A new network');
  check('a reset starts anew', await page.evaluate(() => training.updates) === 0 && await filters() !== trained);
  await (await page.$('#upload')).uploadFile(file);
  await saying(page, '8 tensors read');
  check('uploaded weights are those that were downloaded', await filters() === trained);
  fs.writeFileSync(path.join(folder, 'damaged.safetensors'), bytes.subarray(0, 1000));
  await (await page.$('#upload')).uploadFile(path.join(folder, 'damaged.safetensors'));
  await page.waitForFunction(() => document.querySelector('#status').classList.contains('error'));
  check('a damaged file is refused and changes nothing', await filters() === trained, await status(page));

  await click(page, '#forget');
  await saying(page, 'Nothing is saved');
  await page.reload();
  await ready(page);
  check('what is forgotten does not come back', (await status(page)).startsWith('Ready'), await status(page));
  await page.browserContext().close();
}

/** What the page holds of the device goes when it is replaced, whenever the browser collects garbage. */
async function memory(browser) {
  const page = await fresh(browser);
  const held = () => page.evaluate(() => training.turn(() => bufferBytes));
  const views = async () => { for (const id of ['#next', '#next', '#previous']) await click(page, id); };
  await views();
  const before = await held();
  for (const batch of ['32', '128', '64']) {
    await page.select('#batch', batch);
    await saying(page, `From now on ${batch} images`);
    await click(page, '#reset');
    await saying(page, 'A new network');
  }
  await views();
  const after = await held();
  check('buffers that nobody needs are destroyed', before > 0 && after <= 1.2 * before, `${before} bytes, then ${after}`);
  await page.browserContext().close();
}

/** Start and pause in quick succession: one loop trains, or none. */
async function hastily(browser) {
  const page = await fresh(browser);
  for (const clicks of [2, 3, 4, 5]) {
    await page.evaluate(clicks => { for (let at = 0; at < clicks; at++) document.querySelector('#run').click(); }, clicks);
    const most = await page.evaluate(async () => {
      let most = 0;
      for (let at = 0; at < 5; at++) {
        await training.turn(() => {});
        most = Math.max(most, training.loops);
      }
      return most;
    });
    const runs = await page.$eval('#run', element => element.textContent) === 'Pause';
    check(`after ${clicks} clicks it ${clicks % 2 ? 'trains' : 'rests'}, in one loop at most`, most <= 1 && runs === (clicks % 2 === 1), `${most} loops`);
    if (runs) await click(page, '#run');
    await page.waitForFunction(() => training.loops === 0);
  }
  await page.browserContext().close();
}

/** All by keyboard, and each control says what it is. */
async function keyboard(browser) {
  const page = await fresh(browser);
  const named = await page.evaluate(() => {
    const name = element => element.ariaLabel || element.labels?.[0]?.textContent.trim() || element.textContent.trim();
    return [...document.querySelectorAll('button, input, select, [tabindex]')].filter(element => !name(element)).map(element => element.id);
  });
  check('every control has a name', named.length === 0, named.join());
  const find = node => node.role === 'slider' ? node : (node.children ?? []).map(find).find(Boolean);
  const slider = find(await page.accessibility.snapshot());
  const words = await page.$eval('#rate', element => element.ariaValueText);
  check('the rate is told as it is, and not as its logarithm', slider?.name === 'Learning rate' && words === '0.001', words);
  const reached = new Set();
  await page.evaluate(() => { document.activeElement?.blur(); scrollTo(0, 0); });
  for (let at = 0; at < 40; at++) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => document.activeElement.id));
  }
  const all = ['run', 'reset', 'test', 'rate', 'batch', 'drawing', 'previous', 'next', 'random', 'clear', 'layer', 'save', 'forget', 'download', 'upload'];
  check('every control is reached by Tab', all.every(id => reached.has(id)), all.filter(id => !reached.has(id)).join());
  await page.focus('#rate');
  const rate = await page.evaluate(() => training.rate);
  await page.keyboard.press('ArrowRight');
  await page.waitForFunction(rate => training.rate > rate, {}, rate);
  await page.focus('#run');
  await page.keyboard.press('Space');
  const from = await page.evaluate(() => training.updates);
  await page.waitForFunction(from => training.updates > from + 1, {}, from);
  await page.keyboard.press('Enter');
  await saying(page, 'Paused');
  check('start and pause by keyboard', true);
  await page.browserContext().close();
}

/** An epoch's test comes with its last step, and so to its checkpoint. */
async function epochs(browser) {
  const page = await opened(browser, 800, { apart: true });
  await page.goto(small);
  await ready(page);
  await trainUntil(page, 4);
  const tested = await page.evaluate(() => training.turn(page => [...page.curve('test accuracy')]));
  check('the test of an epoch comes with its last step', tested[0] === 4, tested.join());
  await page.browserContext().close();
}

/** A browser that keeps nothing: training goes on, and the page says so. */
async function unkept(browser) {
  const refuse = () => { IDBFactory.prototype.open = () => { throw new DOMException('Storage is switched off', 'SecurityError'); }; };
  const fill = () => {
    IDBObjectStore.prototype.put = function () {
      this.transaction.abort();
      throw new DOMException('The quota is exceeded', 'QuotaExceededError');
    };
  };
  for (const [script, reason] of [[refuse, 'switched off'], [fill, 'quota']]) {
    const page = await opened(browser, 800, { script, apart: true });
    await page.goto(small);
    await ready(page);
    await trainUntil(page, 5);
    const said = await status(page);
    check('without storage it trains over an epoch and says that nothing is kept', said.includes('keeps nothing') && said.includes(reason), said);
    await click(page, '#save');
    await page.waitForFunction(() => document.querySelector('#status.error'));
    check('and so does the button', (await status(page)).includes(reason));
    await page.browserContext().close();
  }
}

/** A checkpoint that cannot be gone on from stays, whatever the visitor does. */
async function aside(browser) {
  const page = await opened(browser, 800, { apart: true });
  await page.goto(small);
  await ready(page);
  await trainUntil(page, 3);
  const at = await page.evaluate(() => training.updates);
  const stored = (what, given) => page.evaluate(async (what, given) => {
    const database = await new Promise(found => { const opening = indexedDB.open('wgpu-cnn', 1); opening.onsuccess = () => found(opening.result); });
    const store = database.transaction('kept', 'readwrite').objectStore('kept');
    const read = key => new Promise(found => { const request = store.get(key); request.onsuccess = () => found(request.result); });
    const training = await read('training');
    // A byte of its header, and back.
    if (what === 'damage') { training.bytes[9] ^= 1; store.put(training, 'training'); }
    const others = await read('aside') ?? [];
    if (what === 'repair') { for (const other of others) other.bytes[9] ^= 1; store.put(others, 'aside'); }
    await new Promise(done => { store.transaction.oncomplete = done; });
    database.close();
    return { training: training?.bytes.length, aside: others.map(other => other.bytes.length) };
  }, what, given);
  const { training: size } = await stored('damage');
  await page.reload();
  await ready(page);
  const said = await status(page);
  check('a checkpoint that cannot be read is set aside', said.includes('set aside') && (await stored('look')).aside.join() === `${size}`, said);
  await trainUntil(page, 2);
  check('and stays when the next one is saved', (await stored('look')).aside.join() === `${size}`);
  await click(page, '#take-back');
  await saying(page, 'still cannot');
  check('it can be tried again', !await page.$eval('#aside', element => element.hidden));
  await stored('repair');
  await click(page, '#take-back');
  await saying(page, `Going on from step ${at}`);
  check('and is gone on from where it can be', (await stored('look')).aside.length === 0 && await page.$eval('#aside', element => element.hidden));
  await page.reload();
  await ready(page);
  check('after a reload too', (await status(page)).startsWith(`Going on from step ${at}`), await status(page));
  await page.browserContext().close();
}

/** What is wrong with the page itself is said. */
async function defects(browser) {
  const page = await opened(browser, 800, { complains: true, apart: true, blocked: /\.wasm$/ });
  await page.goto(small);
  await page.waitForSelector('#status.error');
  check('a program that does not come is told', (await status(page)).includes('could not begin'), await status(page));
  page.removeAllListeners('request');
  await page.setRequestInterception(false);
  await page.reload();
  await ready(page);
  // Of the page itself: browsers tell nothing of other errors.
  await page.addScriptTag({ content: "setTimeout(() => { throw new WebAssembly.RuntimeError('unreachable'); });" });
  await page.waitForSelector('#status.error');
  check('a panic is told, and switches all off', (await status(page)).includes('unreachable') && await page.$$eval('button', all => all.every(one => one.disabled)), await status(page));
  await page.browserContext().close();
}

async function looks(browser, folder) {
  for (const [width, scheme] of [[1280, 'light'], [390, 'dark']]) {
    const page = await opened(browser, width);
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    await page.goto(address);
    await ready(page);
    await trainUntil(page, 8);
    await click(page, '#test');
    await saying(page, 'On the test images');
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    check(`${width} pixels are wide enough`, wider <= 0, `${wider} too many`);
    await page.screenshot({ path: path.join(folder, `${scheme}-${width}.png`), fullPage: true });
    await click(page, '#forget');
    await saying(page, 'Nothing is saved');
    await page.close();
  }
}

async function without(_, folder) {
  const browser = await launch(['--disable-gpu', '--disable-features=WebGPU']);
  const script = () => Object.defineProperty(navigator, 'gpu', { value: undefined });
  // Nothing else need come.
  const page = await opened(browser, 390, { script, complains: true, blocked: /\.wasm$|wgpu_cnn_web\.js$|\.gz$/ });
  await page.goto(address);
  await page.waitForSelector('#missing:not([hidden])');
  check('without WebGPU there is nothing else', await page.$$eval('main > section', all => all.filter(one => !one.hidden).length) === 1);
  check('without WebGPU it says what to do', (await page.$eval('#missing', element => element.textContent)).includes('chrome://flags'));
  await page.screenshot({ path: path.join(folder, 'missing.png'), fullPage: true });
  await browser.close();
}

fs.mkdirSync(screenshots, { recursive: true });
let browser;
try {
  browser = await launch(['--enable-unsafe-webgpu']);
  console.log(`     ${await browser.version()}`);
  const parts = { trains, controls, keyboard, hastily, memory, epochs, unkept, aside, defects, looks, without };
  const wanted = process.env.PARTS ? process.env.PARTS.split(',') : Object.keys(parts);
  for (const name of wanted) if (!parts[name]) throw new Error(`PARTS: there is no ${name}`);
  for (const name of Object.keys(parts).filter(name => wanted.includes(name))) {
    const begun = Date.now();
    await parts[name](browser, path.resolve(screenshots));
    console.log(`     ${name}: ${((Date.now() - begun) / 1000).toFixed(0)} s`);
  }
  await browser.close();
} catch (error) {
  check('the test comes to its end', false, error.stack);
  const pages = await browser?.pages().catch(() => []) ?? [];
  for (const page of pages) console.log(await status(page).catch(() => 'no status'));
  await browser?.close();
}
server.close();
console.log(failures.length ? `${failures.length} failures` : 'all well');
process.exit(failures.length ? 1 : 0);
