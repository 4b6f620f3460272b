
// The gradient with respect to what a function made of the kernel's value. It becomes the gradient of the
// function's argument, for the kernels that follow as well. `given` holds the argument, or the value where the
// gradient follows from it; the binding's number is the host's `ARGUMENT`.
// It is bound element by element: some compilers store a component of a vector by writing all of it, and neighbours
// are those of other invocations where planes do not consist of whole vectors.
@group(0) @binding(9) var<storage, read_write> argument: array<Argument>;

fn turned(at: u32, value: f32) -> f32 {
    let result = activation_gradient(FUNCTION, FUNCTION_A, FUNCTION_B, value, f32(argument[at]));
    argument[at] = Argument(result);
    return result;
}

fn gradient_at(at: u32) -> f32 {
    return turned(at, f32(given[at / 4u][at % 4u]));
}

fn gradients_at(at: u32) -> vec4<f32> {
    let value = vec4<f32>(given[at]);
    return vec4(
        turned(4u * at, value.x),
        turned(4u * at + 1u, value.y),
        turned(4u * at + 2u, value.z),
        turned(4u * at + 3u, value.w),
    );
}
