
// What a strip of 4 pixels meets in one row of a plane: at most 16 elements, which lie DILATION_W apart.
//
// Uses the kernel's buffer `input`, array<vec4<Input>>, params.in_width, and its constants
//   LEFT       how far left of where a strip begins its first element lies
//   ELEMENTS   how many there are

struct Elements { a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32> }

// The same as the pixels meet it with each tap of a filter row.
struct Window { p0: vec4<f32>, p1: vec4<f32>, p2: vec4<f32>, p3: vec4<f32>, p4: vec4<f32>, p5: vec4<f32>, p6: vec4<f32> }

// in_width % 4 == 0 and DILATION_W == 1: strips begin at whole vectors.
override INPUT_VEC4: bool = false;

// The elements of a vector of a row from `first` on, before `end`; zero outside the row. `first` and `end`
// are constants wherever it is called.
fn load_block(row: u32, block: i32, first: u32, end: u32) -> vec4<f32> {
    var v = vec4<f32>();
    if first < end && block >= 0 && u32(block) < params.in_width / 4u {
        let at = row * params.in_width / 4u + u32(block);
        // A single element costs half of what a vector does where loads are what costs.
        if first == 3u {
            v.w = f32(input[at].w);
        } else if end == 1u {
            v.x = f32(input[at].x);
        } else {
            v = vec4<f32>(input[at]);
        }
    }
    return v;
}

// The end of the elements before `end` in block `k` of 4.
fn block_end(end: u32, k: u32) -> u32 {
    return min(max(end, 4u * k) - 4u * k, 4u);
}

// Element `e` of a row from x on, zero outside it. Left of the row, x wraps to large numbers.
fn load_element(row: u32, x: u32, e: u32) -> f32 {
    let column = x + e * DILATION_W;
    var v = 0.0;
    if e < ELEMENTS && column < params.in_width {
        let i = row * params.in_width + column;
        v = f32(input[i / 4u][i % 4u]);
    }
    return v;
}

fn load_four(row: u32, x: u32, e: u32) -> vec4<f32> {
    return vec4(load_element(row, x, e), load_element(row, x, e + 1u), load_element(row, x, e + 2u), load_element(row, x, e + 3u));
}

// What a strip that begins at column `x` of a row meets. `row` is plane * in_height + y.
fn load_elements(row: u32, x: u32) -> Elements {
    var e: Elements;
    if INPUT_VEC4 {
        let shift = (4u - LEFT % 4u) % 4u; // of the first element in its vector
        let end = shift + ELEMENTS;
        let block = i32(x / 4u) - i32((LEFT + 3u) / 4u);
        let a = load_block(row, block, shift, block_end(end, 0u));
        let b = load_block(row, block + 1, 0u, block_end(end, 1u));
        let c = load_block(row, block + 2, 0u, block_end(end, 2u));
        let d = load_block(row, block + 3, 0u, block_end(end, 3u));
        e = Elements(slide(a, b, c, shift), slide(b, c, d, shift), slide(c, d, d, shift), slide(d, vec4<f32>(), d, shift));
    } else {
        let first = x - LEFT;
        e = Elements(load_four(row, first, 0u), load_four(row, first, 4u), load_four(row, first, 8u), load_four(row, first, 12u));
    }
    return e;
}
