
// The gradient with respect to what a function made of the kernel's value. It becomes the gradient of the
// function's argument, for the kernels that follow as well. `given` holds the argument, or the value where the
// gradient follows from it; the binding's number is the host's `ARGUMENT`.
@group(0) @binding(9) var<storage, read_write> argument: array<Argument>;

fn gradient_at(at: u32) -> f32 {
    let gradient = f32(argument[at]);
    let turned = activation_gradient(FUNCTION, FUNCTION_A, FUNCTION_B, f32(given[at]), gradient);
    argument[at] = Argument(turned);
    return turned;
}
