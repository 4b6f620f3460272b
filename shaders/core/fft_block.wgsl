// What a convolution by Fourier transforms takes at once: 2,048 neighbours, or with PLANE 32 rows of 64.

override PLANE: bool = false;

const POINTS: u32 = 2048u;
const ROW: u32 = 64u;

// Row and column of a point of a block.
fn point_of(n: u32) -> vec2<u32> {
    if PLANE { return vec2(n / ROW, n % ROW); }
    return vec2(0u, n);
}
