
// The gradient with respect to what a function made of the kernel's value. It becomes the gradient of the
// function's argument, for the kernels that follow as well. `given` holds the argument, or the value where the
// gradient follows from it; the binding's number is the host's `ARGUMENT`.
@group(0) @binding(9) var<storage, read_write> argument: array<vec4<Argument>>;

fn turned(value: f32, gradient: f32) -> f32 {
    return activation_gradient(FUNCTION, FUNCTION_A, FUNCTION_B, value, gradient);
}

fn gradient_at(at: u32) -> f32 {
    let result = turned(f32(given[at / 4u][at % 4u]), f32(argument[at / 4u][at % 4u]));
    argument[at / 4u][at % 4u] = Argument(result);
    return result;
}

fn gradients_at(at: u32) -> vec4<f32> {
    let value = vec4<f32>(given[at]);
    let gradient = vec4<f32>(argument[at]);
    let result = vec4(
        turned(value.x, gradient.x),
        turned(value.y, gradient.y),
        turned(value.z, gradient.z),
        turned(value.w, gradient.w),
    );
    argument[at] = vec4<Argument>(result);
    return result;
}
