
// The gradient as it is, in `given`.
fn gradient_at(at: u32) -> f32 {
    return f32(given[at / 4u][at % 4u]);
}

fn gradients_at(at: u32) -> vec4<f32> {
    return vec4<f32>(given[at]);
}
