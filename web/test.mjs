// Drives the page in headless Chromium: node test.mjs SITE PUPPETEER LOSSES SCREENSHOTS. LOSSES is what the native
// program printed. CHROMIUM_FLAGS are more flags for Chromium. The exit code says all.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [site, puppeteerAt, lossesAt, screenshots] = process.argv.slice(2);
const { default: puppeteer } = await import(
  pathToFileURL(path.join(puppeteerAt, 'lib/puppeteer/puppeteer-core.js')).href
);
const native = fs.readFileSync(lossesAt, 'utf8').trim().split('\n');
const FIRST = 30, PATIENCE = 180_000;

const failures = [];
function check(what, holds, detail = '') {
  console.log(`${holds ? 'ok  ' : 'FAIL'} ${what}${detail === '' ? '' : `: ${detail}`}`);
  if (!holds) failures.push(what);
}

const types = { html: 'text/html', css: 'text/css', js: 'text/javascript', wasm: 'application/wasm' };
const server = http.createServer((request, response) => {
  const name = decodeURIComponent(new URL(request.url, 'http://page').pathname);
  const file = path.join(site, name.endsWith('/') ? `${name}index.html` : name);
  fs.readFile(file, (error, bytes) => {
    response.writeHead(error ? 404 : 200, {
      'content-type': types[path.extname(file).slice(1)] ?? 'application/octet-stream',
    });
    response.end(bytes);
  });
});
await new Promise(ready => server.listen(0, '127.0.0.1', ready));
const address = `http://127.0.0.1:${server.address().port}/`;

const launch = flags => puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  protocolTimeout: 2 * PATIENCE,
  args: ['--no-sandbox', ...flags, ...(process.env.CHROMIUM_FLAGS ?? '').split(' ').filter(Boolean)],
});

/** A page whose errors and warnings fail the test. */
async function opened(browser, width) {
  const page = await browser.newPage();
  await page.setViewport({ width, height: 900 });
  page.on('console', message => {
    const kind = message.type();
    if (kind === 'error' || kind === 'warn') check(`the console is silent`, false, `${kind}: ${message.text()}`);
  });
  page.on('pageerror', error => check('no error is left to the page', false, error.stack ?? error.message));
  page.on('requestfailed', request => check('every file comes', false, request.url()));
  page.on('response', answer => { if (!answer.ok()) check('every file is there', false, `${answer.status()} ${answer.url()}`); });
  await page.evaluateOnNewDocument(() => {
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
  });
  page.setDefaultTimeout(PATIENCE);
  return page;
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
  const page = await opened(browser, 1280);
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
  await trainUntil(page, made + 8);
  compare('with the same bits', await losses(page), made + 8);
  return page;
}

async function controls(page, folder) {
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
  await click(page, '#previous');
  await click(page, '#random');
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
  await session.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: folder });
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

async function without(folder) {
  const browser = await launch(['--disable-gpu', '--disable-features=WebGPU']);
  const page = await opened(browser, 390);
  await page.evaluateOnNewDocument(() => Object.defineProperty(navigator, 'gpu', { value: undefined }));
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
  const page = await trains(browser);
  await controls(page, path.resolve(screenshots));
  await page.close();
  await looks(browser, screenshots);
  await browser.close();
  await without(screenshots);
} catch (error) {
  check('the test comes to its end', false, error.stack);
  const pages = await browser?.pages().catch(() => []) ?? [];
  for (const page of pages) console.log(await status(page).catch(() => 'no status'));
  await browser?.close();
}
server.close();
console.log(failures.length ? `${failures.length} failures` : 'all well');
process.exit(failures.length ? 1 : 0);
