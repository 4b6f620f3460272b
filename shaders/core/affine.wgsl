
// The factors of a normalisation, where it has any. Uses the kernel's buffer `gamma`.

override AFFINE: bool = true;

fn scaled(i: u32, value: f32) -> f32 {
    if AFFINE { return gamma[i] * value; }
    return value;
}
