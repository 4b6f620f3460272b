
// Pixels first .. first + 3 of three blocks of 4 in a row. `first` is a constant wherever it is called.
fn slide(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, first: u32) -> vec4<f32> {
    switch first {
        case 0u: { return a; }
        case 1u: { return vec4(a.yzw, b.x); }
        case 2u: { return vec4(a.zw, b.xy); }
        case 3u: { return vec4(a.w, b.xyz); }
        case 4u: { return b; }
        case 5u: { return vec4(b.yzw, c.x); }
        case 6u: { return vec4(b.zw, c.xy); }
        default: { return vec4(b.w, c.xyz); }
    }
}
