
// Winograd's algorithm for filters of 3x3 at stride 1, F(4x4, 3x3) of Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks" (2016): a tile of 4x4 results Y from 6x6 pixels D of each channel, with the
// filters G as
//
//   Y = A^T [ sum over channels of (F G F^T) * (B^T D B) ] A        * element by element, 36 of them for 144
//
// The polynomials behind B, F and A are evaluated at 0, sqrt(1/2), -sqrt(1/2), sqrt(2), -sqrt(2) and infinity. With
// these points an error is a quarter of what it is with 0, 1, -1, 2, -2 (Barabasz et al., "Error Analysis and Improving
// the Accuracy of Winograd Convolution for Deep Neural Networks", 2020).
//
// Filters of one row, 1x3, have tiles of one row, 1x4 results from 1x6 pixels: F(4, 3) at the same points, 6 products for 12.
//
// The functions transform along one dimension. A kernel's invocation transforms one tile of one channel: with four channels
// in vectors it would hold 144 numbers, and a driver that makes code for each component loaded or stored four times as much.

const HALF_ROOT: f32 = 0.70710678118654752; // sqrt(1/2)
const ROOT: f32 = 1.41421356237309505;      // sqrt(2)

// Whether filters have one row, and so have tiles: 6 points in place of 36.
override ONE_ROW: bool = false;

// Rows of results of a tile.
fn rows_of_tile() -> u32 {
    return select(4u, 1u, ONE_ROW);
}

// Taps of a filter.
fn taps_of_filter() -> u32 {
    return select(9u, 3u, ONE_ROW);
}

struct Four { v0: f32, v1: f32, v2: f32, v3: f32 }
struct Six { v0: f32, v1: f32, v2: f32, v3: f32, v4: f32, v5: f32 }

// B^T: six pixels at the six points.
fn input_at_points(d: Six) -> Six {
    let near_even = d.v4 - 2.0 * d.v2;
    let near_odd = HALF_ROOT * (d.v3 - 2.0 * d.v1);
    let far_even = d.v4 - 0.5 * d.v2;
    let far_odd = ROOT * (d.v3 - 0.5 * d.v1);
    return Six(
        d.v0 - 2.5 * d.v2 + d.v4,
        near_even + near_odd,
        near_even - near_odd,
        far_even + far_odd,
        far_even - far_odd,
        d.v1 - 2.5 * d.v3 + d.v5,
    );
}

// F: three weights at the six points.
fn weight_at_points(g0: f32, g1: f32, g2: f32) -> Six {
    let near_even = (-2.0 / 3.0) * g0 + (-1.0 / 3.0) * g2;
    let near_odd = (HALF_ROOT * -2.0 / 3.0) * g1;
    let far_even = (1.0 / 6.0) * g0 + (1.0 / 3.0) * g2;
    let far_odd = (ROOT / 6.0) * g1;
    return Six(g0, near_even + near_odd, near_even - near_odd, far_even + far_odd, far_even - far_odd, g2);
}

// F with the roles changed: four gradients of results at the six points, for those of three weights.
fn gradient_at_points(g0: f32, g1: f32, g2: f32, g3: f32) -> Six {
    let near_even = (-2.0 / 3.0) * g0 + (-1.0 / 3.0) * g2;
    let near_odd = (HALF_ROOT * -2.0 / 3.0) * g1 + (HALF_ROOT * -1.0 / 3.0) * g3;
    let far_even = (1.0 / 6.0) * g0 + (1.0 / 3.0) * g2;
    let far_odd = (ROOT / 6.0) * g1 + (ROOT / 3.0) * g3;
    return Six(g0, near_even + near_odd, near_even - near_odd, far_even + far_odd, far_even - far_odd, g3);
}

// A^T: four results from their values at the six points.
fn output_from_points(m: Six) -> Four {
    let near_even = m.v1 + m.v2;
    let near_odd = HALF_ROOT * (m.v1 - m.v2);
    let far_even = m.v3 + m.v4;
    let far_odd = ROOT * (m.v3 - m.v4);
    return Four(
        m.v0 + near_even + far_even,
        near_odd + far_odd,
        0.5 * near_even + 2.0 * far_even,
        0.5 * near_odd + 2.0 * far_odd + m.v5,
    );
}
