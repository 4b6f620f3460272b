
// Quads that a convolution loads as a blocked product (core/product.wgsl), for results that are images: k counts the
// channels of a tap, and then the taps. From step to step a quad of pixels goes from channel to channel, and
// where a tap takes it, inside or beyond the edge, is decoded once for all of them.
//
// A is the weights, packed once for every change of them (conv2d_pack_tiles.wgsl): (group, tap, channel, m / 4), a
// vec4 of four rows each. B is four columns, of which a workgroup keeps what is known.
//
// A kernel provides the buffer `weight`, and
//   product_column(slice, n) -> Column   what is known of a column of B
//   product_channels() -> u32            channels of a group that k counts
//   product_plane() -> u32               elements from a channel to the next
//   product_tap(tap) -> Tap              what is known of a tap
//   packed_tap(slice, tap) -> u32        its number among the packed ones of all groups
//   tap_place(column, tap: Tap) -> u32   the element of the first channel that it meets, or OUTSIDE
//   load_element(at) -> f32

const A_ADJACENT: bool = true;
const OUTSIDE: u32 = 0xffffffffu;

// Whether the taps that a slice takes do not follow each other in the packed weights.
override TAPS_APART: bool = false;

var<workgroup> tile_columns: array<Column, TILE_COLUMNS>;

// A k, its channel, where the weights of both lie, and those of the other quad of rows, and how far the channel is from
// the first one; where its tap takes the columns.
struct Place { k: u32, channel: u32, weight: u32, other: u32, offset: u32, at: vec4<u32> }
struct Walk { step: u32, weight: u32, offset: u32, start: Start }

fn product_walk(start: Start, step: u32) -> Walk {
    return Walk(step, step * quads_of(start.size), step * product_plane(), start);
}

fn quads_of(size: Size) -> u32 {
    return (size.m + 3u) / 4u;
}

fn product_start(start: Start) -> Place {
    if start.thread < 4u * start.columns_apart {
        let n = min(start.corner.y + start.thread, start.size.n - 1u);
        tile_columns[start.thread] = product_column(start.slice, n);
    }
    workgroupBarrier();
    return place_of(start, start.k_b);
}

fn place_of(start: Start, k: u32) -> Place {
    let number = k / product_channels();
    let channel = k - number * product_channels();
    // Rows beyond the edge are the last ones instead; what they give is not stored.
    let last = quads_of(start.size) - 1u;
    let quad = start.corner.x / 4u + start.quad_a;
    let weights = (packed_tap(start.slice, number) * product_channels() + channel) * quads_of(start.size);
    let tap = product_tap(number);
    let column = start.quad_b;
    return Place(
        k,
        channel,
        weights + min(quad, last),
        weights + min(quad + QUADS_APART, last),
        channel * product_plane(),
        vec4(
            tap_place(tile_columns[column], tap),
            tap_place(tile_columns[column + start.columns_apart], tap),
            tap_place(tile_columns[column + 2u * start.columns_apart], tap),
            tap_place(tile_columns[column + 3u * start.columns_apart], tap),
        ),
    );
}

fn product_next(place: Place, walk: Walk) -> Place {
    var next = place;
    next.k += walk.step;
    next.channel += walk.step;
    next.weight += walk.weight;
    next.other += walk.weight;
    next.offset += walk.offset;
    if next.channel >= product_channels() {
        let here = place_of(walk.start, next.k);
        let weights = select(vec2(next.weight, next.other), vec2(here.weight, here.other), TAPS_APART);
        next = here;
        next.weight = weights.x;
        next.other = weights.y;
    }
    return next;
}

// Beyond the range of k everything is zero.
fn load_quad_a(place: Place, k_end: u32) -> vec4<f32> {
    if place.k >= k_end { return vec4<f32>(); }
    return vec4<f32>(weight[place.weight]);
}

fn load_other_a(place: Place, k_end: u32) -> vec4<f32> {
    if place.k >= k_end { return vec4<f32>(); }
    return vec4<f32>(weight[place.other]);
}

fn load_quad_b(place: Place, k_end: u32) -> vec4<f32> {
    if place.k >= k_end { return vec4<f32>(); }
    return vec4(
        load_inside(place.at.x, place.offset),
        load_inside(place.at.y, place.offset),
        load_inside(place.at.z, place.offset),
        load_inside(place.at.w, place.offset),
    );
}

// By a branch, which NVIDIA's compiler makes a predicate of: to load an element for nothing takes longer there.
fn load_inside(first: u32, offset: u32) -> f32 {
    if first == OUTSIDE { return 0.0; }
    return load_element(first + offset);
}

// The rows of A are weights, whose sums nobody asks for.
const ROW_SUMS: bool = false;
fn store_row_sum(slice: u32, m: u32, value: f32) {}
