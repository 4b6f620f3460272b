
// The gradient as it is, in `given`.
fn gradient_at(at: u32) -> f32 {
    return f32(given[at]);
}
