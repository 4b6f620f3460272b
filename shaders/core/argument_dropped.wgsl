
// In place of argument_kept.wgsl where nothing needs the arguments of the function that a kernel applies.
fn keep_argument(at: u32, x: f32) {}
