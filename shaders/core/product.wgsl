
// What the blocked products share: their tiles, and loads and stores by quads.
//
// A kernel provides
//   product_size(slice) -> Size          M, N and the range of k that this slice sums over
//   store_c(slice, m, n, value)          for m < M and n < N
// and, by core/element_quads.wgsl or core/tap_quads.wgsl,
//   product_walk(start, step) -> Walk    what leads from a k to the one `step` further on
//   product_start(start) -> Place        what is known of a quad of A and a quad of B, each at a k
//   product_next(place, walk) -> Place   the same of the quads a step further on
//   load_quad_a(place, k_end), load_quad_b(place, k_end) -> vec4<f32>
//   load_other_a(place, k_end)           where an invocation loads two quads of A, the one QUADS_APART further on
// A slice is a channel group or a part of a split sum.

// Whether neighbours along k (rather than along m or n) are neighbours in memory.
override A_ALONG_K: bool = true;
override B_ALONG_K: bool = false;

struct Size {
    m: u32,
    n: u32,
    k_begin: u32,
    k_end: u32,
}

// Where an invocation begins to load: its quads among those of the tile, and the k of each. `rows_apart` and
// `columns_apart` lie between the members of quads that are not of neighbours.
struct Start {
    slice: u32,
    size: Size,
    corner: vec2<u32>,
    thread: u32,
    quad_a: u32,
    quad_b: u32,
    rows_apart: u32,
    columns_apart: u32,
    k_a: u32,
    k_b: u32,
}

var<workgroup> agreed: vec2<u32>;

// Where this slice's range of k begins and ends, as one value of the whole workgroup. Where a compiler does not see
// that all invocations leave a loop together, it keeps what each of them left with beside what the others go on with:
// by Mesa's for NVIDIA every sum takes two registers then.
fn agreed_range(size: Size, thread: u32) -> vec2<u32> {
    if thread == 0u { agreed = vec2(size.k_begin, size.k_end); }
    return workgroupUniformLoad(&agreed);
}

// The first row and column of this workgroup's tile.
fn tile_corner(group: vec3<u32>, size: Size, sides: vec2<u32>) -> vec2<u32> {
    let tiles_m = (size.m + sides.x - 1u) / sides.x;
    let tile = flat_group(group);
    return vec2(tile % tiles_m, tile / tiles_m) * sides;
}

// The row and the column of an invocation among SIDE x SIDE. A subgroup of 32 has 4 rows and 8 columns, and
// neighbours have the same column, so that what they read of a tile is little, and GPUs that read vec4s for
// part of a subgroup at a time read it for two parts at once.
fn own_of(thread: u32) -> vec2<u32> {
    let row = (thread & 1u) | ((thread >> 3u) & 14u);
    let column = ((thread >> 1u) & 7u) | ((thread >> 4u) & 8u);
    return vec2(row, column);
}

// The first row of a quad of A in the tile, and how far the next ones are: neighbours, or `distance` apart.
fn row_of(quad: u32) -> u32 {
    return select(quad, quad * 4u, A_ADJACENT);
}

fn row_distance(distance: u32) -> u32 {
    return select(distance, 1u, A_ADJACENT);
}

fn store_quad(slice: u32, size: Size, m: u32, n: u32, distance: u32, c: vec4<f32>) {
    if m >= size.m { return; }
    if n < size.n { store_c(slice, m, n, c.x); }
    if n + distance < size.n { store_c(slice, m, n + distance, c.y); }
    if n + 2u * distance < size.n { store_c(slice, m, n + 2u * distance, c.z); }
    if n + 3u * distance < size.n { store_c(slice, m, n + 3u * distance, c.w); }
}
