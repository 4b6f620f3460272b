
// Quads that are vec4s in memory, of matrices laid out for a blocked product (core/product.wgsl): four rows of A at one k,
// and four columns of B, and of C in one row. What lies beyond the last row or column of a quad is there, whatever it is.
//
// A kernel provides
//   product_a(slice) -> Quads, product_b(slice) -> Quads
//   load_a(at), load_b(at) -> vec4<f32>   the vec4 at a place
//   store_c4(slice, m, n, value)          of columns n to n + 3

const A_ADJACENT: bool = true;
const B_ADJACENT: bool = true;

// Where its first vec4 lies, and how far it is from a k to the next.
struct Quads { first: u32, pitch: u32 }
// A k, and where the quads lie there.
struct Place { k: u32, a: u32, other: u32, b: u32 }
struct Walk { step: u32, a: u32, b: u32 }

fn product_walk(start: Start, step: u32) -> Walk {
    return Walk(step, step * product_a(start.slice).pitch, step * product_b(start.slice).pitch);
}

// Quads beyond the edge are the last one instead; what they give is not stored.
fn product_start(start: Start) -> Place {
    let a = product_a(start.slice);
    let b = product_b(start.slice);
    let quad = start.corner.x / 4u + start.quad_a;
    let last = (start.size.m - 1u) / 4u;
    let column = min(start.corner.y / 4u + start.quad_b, (start.size.n - 1u) / 4u);
    let first = a.first + start.k_a * a.pitch;
    return Place(
        start.k_a,
        first + min(quad, last),
        first + min(quad + QUADS_APART, last),
        b.first + start.k_b * b.pitch + column,
    );
}

fn product_next(place: Place, walk: Walk) -> Place {
    return Place(place.k + walk.step, place.a + walk.a, place.other + walk.a, place.b + walk.b);
}

// Beyond the range of k everything is zero.
fn load_quad_a(place: Place, k_end: u32) -> vec4<f32> {
    if place.k >= k_end { return vec4<f32>(); }
    return load_a(place.a);
}

fn load_other_a(place: Place, k_end: u32) -> vec4<f32> {
    if place.k >= k_end { return vec4<f32>(); }
    return load_a(place.other);
}

fn load_quad_b(place: Place, k_end: u32) -> vec4<f32> {
    if place.k >= k_end { return vec4<f32>(); }
    return load_b(place.b);
}

fn store_quad(slice: u32, size: Size, m: u32, n: u32, distance: u32, c: vec4<f32>) {
    if m < size.m && n < size.n { store_c4(slice, m, n, c); }
}

// Nobody asks for the sums of A's rows.
const ROW_SUMS: bool = false;
fn store_row_sum(slice: u32, m: u32, value: f32) {}
