// Makes every pipeline of a dump in Dawn, whose WGSL compiler is that of Chromium, with its null back end:
// node tests/tint.mjs DUMP WEBGPU. WEBGPU is the folder of npm's `webgpu`; tests/tint.sh makes both.
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [dump, webgpu] = process.argv.slice(2);
const { create, globals } = await import(pathToFileURL(path.resolve(webgpu, 'index.js')));
Object.assign(globalThis, globals);
const needed = ['shader-f16', 'subgroups'];
// Fewer are a fault of the dump, not a success.
const FEWEST = 500;

function fail(message) {
    console.error(`error: ${message}`);
    process.exit(1);
}

const gpu = create(['backend=null']);
const adapter = await gpu.requestAdapter();
if (!adapter) fail('Dawn has no null adapter');
const missing = needed.filter((feature) => !adapter.features.has(feature));
if (missing.length > 0) fail(`Dawn's null adapter lacks ${missing.join(' and ')}`);
const device = await adapter.requestDevice({ requiredFeatures: needed });

// A module by its file, and what was said of it.
const modules = new Map();
async function moduleOf({ file, kernel }) {
    if (!modules.has(file)) {
        const code = fs.readFileSync(path.join(dump, file), 'utf8');
        device.pushErrorScope('validation');
        const module = device.createShaderModule({ code, label: kernel });
        const error = await device.popErrorScope();
        modules.set(file, { module, refusal: error?.message });
    }
    return modules.get(file);
}

// Why a pipeline is refused, or nothing.
async function refusal(pipeline) {
    const { module, refusal } = await moduleOf(pipeline);
    if (refusal) return refusal;
    const types = pipeline.bindings;
    const entries = types.map((type, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type },
    }));
    // The arguments of the function that a kernel applies, where they are kept.
    if (pipeline.argument !== null) {
        const buffer = { type: 'storage' };
        entries.push({ binding: pipeline.argument, visibility: GPUShaderStage.COMPUTE, buffer });
    }
    device.pushErrorScope('validation');
    const bindGroupLayouts = [device.createBindGroupLayout({ entries })];
    const layout = device.createPipelineLayout({ bindGroupLayouts });
    const compute = { module, entryPoint: 'main', constants: pipeline.constants };
    let said;
    try {
        await device.createComputePipelineAsync({ layout, compute });
    } catch (error) {
        said = error.message;
    }
    const error = await device.popErrorScope();
    return said ?? error?.message;
}

const pipelines = JSON.parse(fs.readFileSync(path.join(dump, 'pipelines.json'), 'utf8'));
const refused = new Map();
let count = 0;
for (const pipeline of pipelines) {
    const why = await refusal(pipeline);
    if (why === undefined) continue;
    count += 1;
    const files = refused.get(why) ?? [];
    refused.set(why, [...files, pipeline.file]);
}
for (const [why, files] of refused) console.error(`refused, ${files.length} pipelines, ${files[0]}:\n${why}\n`);
console.log(`tint: ${pipelines.length} pipelines, ${count} refused`);
if (pipelines.length < FEWEST) fail(`only ${pipelines.length} pipelines, of at least ${FEWEST}`);
process.exit(count === 0 ? 0 : 1);
