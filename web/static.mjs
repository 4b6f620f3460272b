// What can be told of the page without a browser: node web/static.mjs. That its parts fit together: identifiers,
// labels, files, and what it calls of the module.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const web = path.dirname(fileURLToPath(import.meta.url)), folder = path.join(web, 'page');
const read = name => fs.readFileSync(path.join(folder, name), 'utf8');
const problems = [];
const check = (what, wrong) => { for (const one of wrong) problems.push(`${what}: ${one}`); };
const all = (text, pattern) => [...text.matchAll(pattern)].map(found => found[1]);
const missing = (wanted, there) => [...new Set(wanted)].filter(one => !there.includes(one));

const html = read('index.html'), css = read('style.css');
const scripts = fs.readdirSync(folder).filter(name => name.endsWith('.js'));
const script = scripts.map(read).join('\n');
for (const name of [...scripts.map(name => path.join(folder, name)), path.join(web, 'test.mjs')]) {
  try { execFileSync(process.execPath, ['--check', name], { stdio: 'pipe' }); } catch (error) { check(name, [error.stderr]); }
}

const ids = all(html, /\bid="([^"]+)"/g);
check('an identifier that is there twice', ids.filter((id, at) => ids.indexOf(id) !== at));
check('the page has no element', missing([...all(script, /\$\('([^']+)'\)/g), ...all(script, /show\('([^']+)'/g)], ids));
check('a label is for nothing', missing(all(html, /\bfor="([^"]+)"/g), ids));
check('the style is of nothing', missing(all(css, /#([a-z][a-z-]*)(?![0-9a-f-]*;)\b(?=[^{};]*\{)/g), ids));

// What a button, field or picture is called.
const named = tag => /aria-label=/.test(tag) || ids.length && all(html, /\bfor="([^"]+)"/g).includes(all(tag, /\bid="([^"]+)"/g)[0]);
const fields = (html.match(/<(input|select|canvas)\b[^>]*>/g) ?? []).filter(tag => !/type="file"/.test(tag));
check('a field or a picture without a name', fields.filter(tag => !named(tag)));
check('a button without a name', (html.match(/<button\b[^>]*>\s*<\/button>/g) ?? []).filter(tag => !/aria-label=/.test(tag)));

// Files: those of the folder, what wasm-bindgen makes, the data that build.sh copies.
const files = [...fs.readdirSync(folder), 'wgpu_cnn_web.js', 'data/LICENSE'];
const wanted = [...all(html, /(?:src|href)="([^"#:]+)"/g), ...all(script, /(?:from |import\()'\.\/([^']+)'/g)];
check('no such file', missing(wanted, files));
check('no such colour', missing(all(css + script, /(?:var\(|')(--[a-z-]+)/g), all(css, /(--[a-z-]+):/g)));

// The module's side.
const rust = fs.readFileSync(path.join(web, 'src/page.rs'), 'utf8');
const offered = all(rust, /pub (?:async )?fn (\w+)/g);
check('the module has no', missing(all(script, /\b(?:page|Page|module)\.(\w+)\(/g).filter(name => name !== 'default'), offered));
check('nobody calls', missing(offered.filter(name => name !== 'begin'), all(script, /\b(?:page|Page|module)\.(\w+)\(/g)));

for (const problem of problems) console.error(`error: ${problem}`);
console.log(`the page: ${ids.length} elements, ${scripts.length} scripts, ${problems.length} problems`);
process.exit(problems.length ? 1 : 0);
