
// What Adam and its like keep of a slab of gradients: the running means of them and of their squares.
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
// Uses the kernel's buffers `moment1` and `moment2`, and its `params`.

struct Moments {
    m: vec4<f32>,
    v: vec4<f32>,
}

// With a gradient in them. A first step reads none.
fn next_moments(at: u32, g: vec4<f32>) -> Moments {
    var m = params.one_minus_beta1 * g;
    var v = params.one_minus_beta2 * g * g;
    if params.first_step == 0u {
        m += params.beta1 * moment1[at];
        v += params.beta2 * moment2[at];
    }
    moment1[at] = m;
    moment2[at] = v;
    return Moments(m, v);
}
