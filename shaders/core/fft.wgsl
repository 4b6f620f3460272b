// The discrete Fourier transform of a block of 2,048 points, of two complex signals at once: those of 2,048 neighbours, or
// with PLANE of 32 rows of 64, along both sides (core/fft_block.wgsl). 256 invocations have 8 points each, and transform them in four passes, of
// 8, 8, 8 and 4 points; between these, the points change owners by way of workgroup memory, first those of one signal and
// then of the other (Stockham's algorithm, so that what comes of it is in order).
//
// Before a pass, and after the last, an invocation has the points `thread + 256 * j`.
//
// A kernel provides the buffer `twiddles`, of exp(-2 pi i n / 2048) for n < 256, and of its own blocks
//   Source                        what a block is of
//   point(source, n) -> vec4<f32> its nth point

var<workgroup> points: array<vec2<f32>, POINTS>;

struct Eight {
    v0: vec4<f32>,
    v1: vec4<f32>,
    v2: vec4<f32>,
    v3: vec4<f32>,
    v4: vec4<f32>,
    v5: vec4<f32>,
    v6: vec4<f32>,
    v7: vec4<f32>,
}

struct Four { v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32> }

// The points that an invocation has at first.
fn block_of(source: Source, thread: u32) -> Eight {
    return Eight(
        point(source, thread),
        point(source, thread + 256u),
        point(source, thread + 512u),
        point(source, thread + 768u),
        point(source, thread + 1024u),
        point(source, thread + 1280u),
        point(source, thread + 1536u),
        point(source, thread + 1792u),
    );
}

// Where a point lies in workgroup memory: points that are written at once, 8 or 64 apart, lie in different banks.
fn bank_of(point: u32) -> u32 {
    return point ^ ((point >> 4u) & 15u);
}

// Points to `to + step * j`, and those back that the invocation has next.
fn exchanged(v: Eight, to: u32, step: u32, thread: u32) -> Eight {
    let t0 = bank_of(to);
    let t1 = bank_of(to + step);
    let t2 = bank_of(to + 2u * step);
    let t3 = bank_of(to + 3u * step);
    let t4 = bank_of(to + 4u * step);
    let t5 = bank_of(to + 5u * step);
    let t6 = bank_of(to + 6u * step);
    let t7 = bank_of(to + 7u * step);
    let own = bank_of(thread);
    points[t0] = v.v0.xy;
    points[t1] = v.v1.xy;
    points[t2] = v.v2.xy;
    points[t3] = v.v3.xy;
    points[t4] = v.v4.xy;
    points[t5] = v.v5.xy;
    points[t6] = v.v6.xy;
    points[t7] = v.v7.xy;
    workgroupBarrier();
    let a0 = points[own];
    let a1 = points[own + 256u];
    let a2 = points[own + 512u];
    let a3 = points[own + 768u];
    let a4 = points[own + 1024u];
    let a5 = points[own + 1280u];
    let a6 = points[own + 1536u];
    let a7 = points[own + 1792u];
    workgroupBarrier();
    points[t0] = v.v0.zw;
    points[t1] = v.v1.zw;
    points[t2] = v.v2.zw;
    points[t3] = v.v3.zw;
    points[t4] = v.v4.zw;
    points[t5] = v.v5.zw;
    points[t6] = v.v6.zw;
    points[t7] = v.v7.zw;
    workgroupBarrier();
    return Eight(
        vec4(a0, points[own]),
        vec4(a1, points[own + 256u]),
        vec4(a2, points[own + 512u]),
        vec4(a3, points[own + 768u]),
        vec4(a4, points[own + 1024u]),
        vec4(a5, points[own + 1280u]),
        vec4(a6, points[own + 1536u]),
        vec4(a7, points[own + 1792u]),
    );
}

fn squared(w: vec2<f32>) -> vec2<f32> {
    return vec2(w.x * w.x - w.y * w.y, 2.0 * w.x * w.y);
}

fn multiplied(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return vec2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

// A complex number times both signals.
fn times(w: vec2<f32>, v: vec4<f32>) -> vec4<f32> {
    return vec4(w.x * v.x - w.y * v.y, w.x * v.y + w.y * v.x, w.x * v.z - w.y * v.w, w.x * v.w + w.y * v.z);
}

// Both times -i.
fn quarter_turn(v: vec4<f32>) -> vec4<f32> {
    return vec4(v.y, -v.x, v.w, -v.z);
}

fn of_four(a0: vec4<f32>, a1: vec4<f32>, a2: vec4<f32>, a3: vec4<f32>) -> Four {
    let p = a0 + a2;
    let q = a0 - a2;
    let r = a1 + a3;
    let s = quarter_turn(a1 - a3);
    return Four(p + r, q + s, p - r, q - s);
}

fn of_eight(v: Eight) -> Eight {
    const HALF: f32 = 0.70710678118654752;
    let e = of_four(v.v0, v.v2, v.v4, v.v6);
    let o = of_four(v.v1, v.v3, v.v5, v.v7);
    let o1 = times(vec2(HALF, -HALF), o.v1);
    let o2 = quarter_turn(o.v2);
    let o3 = times(vec2(-HALF, -HALF), o.v3);
    return Eight(e.v0 + o.v0, e.v1 + o1, e.v2 + o2, e.v3 + o3, e.v0 - o.v0, e.v1 - o1, e.v2 - o2, e.v3 - o3);
}

// The points of a pass, times the powers of a number.
fn turned(v: Eight, w1: vec2<f32>) -> Eight {
    let w2 = squared(w1);
    let w3 = multiplied(w2, w1);
    let w4 = squared(w2);
    return Eight(
        v.v0,
        times(w1, v.v1),
        times(w2, v.v2),
        times(w3, v.v3),
        times(w4, v.v4),
        times(multiplied(w4, w1), v.v5),
        times(squared(w3), v.v6),
        times(multiplied(w4, w3), v.v7),
    );
}

fn last_pass(v: Eight) -> Eight {
    let a = of_four(v.v0, v.v2, v.v4, v.v6);
    let b = of_four(v.v1, v.v3, v.v5, v.v7);
    return Eight(a.v0, b.v0, a.v1, b.v1, a.v2, b.v2, a.v3, b.v3);
}

fn transformed(v: Eight, thread: u32) -> Eight {
    let low = thread % 8u;
    if PLANE {
        // Digits of rows 4 * r1 + r0 and columns 8 * c1 + c0, of their frequencies f0 + 8 * f1 and g0 + 8 * g1.
        let r0 = thread / 64u;
        let row = r0 * 64u;
        // (r0, c1, c0) and r1, to f0: to (c1, r0, f0, c0)
        let c1 = thread / 8u % 8u;
        let a = exchanged(turned(of_eight(v), twiddles[64u * r0]), c1 * 256u + row + low, 8u, thread);
        // (r0, f0, c0) and c1, to g0: to (c0, r0, f0, g0)
        workgroupBarrier();
        let b = exchanged(turned(of_eight(a), twiddles[32u * low]), low * 256u + (thread - low), 1u, thread);
        // (r0, f0, g0) and c0, to g1: to (r0, f0, g1, g0)
        workgroupBarrier();
        let c = exchanged(of_eight(b), row * 8u + (thread / 8u % 8u) * 64u + low, 8u, thread);
        return last_pass(c);
    }
    let a = exchanged(turned(of_eight(v), twiddles[thread]), 8u * thread, 1u, thread);
    let high = thread / 8u;
    workgroupBarrier();
    let b = exchanged(turned(of_eight(a), twiddles[8u * high]), low + 64u * high, 8u, thread);
    let top = thread / 64u;
    workgroupBarrier();
    let c = exchanged(turned(of_eight(b), twiddles[64u * top]), thread % 64u + 512u * top, 64u, thread);
    return last_pass(c);
}
