
// What the blocked products share: their tiles, and loads and stores by quads.
//
// A kernel provides
//   product_size(slice) -> Size          M, N and the range of k that this slice sums over
//   ROW_SUMS: bool                       whether the rows of A are summed as well
//   store_row_sum(slice, m, value)       for m < M, of the sum over k of A[m, k]
// and, by core/element_lines.wgsl, core/tap_quads.wgsl or core/vector_quads.wgsl,
//   store_c(slice, m, n, value)          for m < M and n < N, or store_c4 of four columns
//   product_walk(start, step) -> Walk    what leads from a k to the one `step` further on
//   product_start(start) -> Place        what is known of a quad of A and a quad of B, each at a k; all of a workgroup
//                                        call it, since it may have a barrier
//   product_next(place, walk) -> Place   the same of the quads a step further on
//   load_quad_a(place, k_end), load_quad_b(place, k_end) -> vec4<f32>
//   load_other_a(place, k_end)           where an invocation loads two quads of A, the one QUADS_APART further on
// A form of the product provides, of its tiles,
//   TILE_COLUMNS                         the columns of one
//   QUADS_APART                          where an invocation loads two quads of A, how far apart they are; or 0
//   keep_rows(at, quad), kept_rows(at)   memory of the workgroup for the quads of A at each k of a step, and one more at each
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

// The row and the column of an invocation among 8 x 8, 16 x 8 or 16 x 16. A subgroup of 32 has 4 rows and 8 columns, and
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

// The first column of a quad of B in the tile.
fn column_of(quad: u32) -> u32 {
    return select(quad, quad * 4u, B_ADJACENT);
}

// Stores the sums over k of the tile's rows of A, once the tile of C is stored: each invocation adds up the quads that
// it has loaded, a step apart, and leaves the sums at `at_a`, its quad's place among those of the tile. What is summed
// on the way takes registers that the accumulators need.
fn sum_rows(start: Start, walk: Walk, range: vec2<u32>, at_a: u32, step: u32) {
    var place = product_start(start);
    var sum = vec4<f32>();
    var other = vec4<f32>();
    // In blocks, so that no sum is long enough to lose digits.
    for (var block = range.x; block < range.y; block += 16u * step) {
        let block_end = min(block + 16u * step, range.y);
        var block_sum = vec4<f32>();
        var block_other = vec4<f32>();
        for (var k0 = block; k0 < block_end; k0 += step) {
            block_sum += load_quad_a(place, range.y);
            if QUADS_APART > 0u { block_other += load_other_a(place, range.y); }
            place = product_next(place, walk);
        }
        sum += block_sum;
        other += block_other;
    }
    keep_rows(at_a, sum);
    if QUADS_APART > 0u { keep_rows(at_a + QUADS_APART, other); }
    workgroupBarrier();
    // The first invocations take a quad of rows each, of which there are as many as lie between two of its rows.
    let quads = start.rows_apart;
    if start.thread >= quads { return; }
    var total = vec4<f32>();
    for (var k = 0u; k < step; k++) { total += kept_rows(k * (quads + 1u) + start.thread); }
    let m = start.corner.x + row_of(start.thread);
    let down = row_distance(quads);
    let last = start.size.m;
    if m < last { store_row_sum(start.slice, m, total.x); }
    if m + down < last { store_row_sum(start.slice, m + down, total.y); }
    if m + 2u * down < last { store_row_sum(start.slice, m + 2u * down, total.z); }
    if m + 3u * down < last { store_row_sum(start.slice, m + 3u * down, total.w); }
}
