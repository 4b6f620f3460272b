
// Walks over a channel's values in (N, C, plane), counted over images and then pixels, as a workgroup shares
// them: one by one, or four by four where planes consist of whole vectors. `plane` counts in what is walked by.

override PLANE_VEC4: bool = false;

// Where an invocation is. Divided once: from then on image and pixel advance by the workgroup's size at a time.
struct Place {
    image: u32,
    pixel: u32,
    images: u32,
    pixels: u32,
}

fn place_of(i: u32, plane: u32) -> Place {
    return Place(i / plane, i % plane, INVOCATIONS / plane, INVOCATIONS % plane);
}

fn next_place(p: Place, plane: u32) -> Place {
    let pixel = p.pixel + p.pixels;
    let behind = pixel >= plane;
    let image = p.image + p.images + select(0u, 1u, behind);
    return Place(image, select(pixel, pixel - plane, behind), p.images, p.pixels);
}

// The index of that place in the tensor.
fn index_of(p: Place, channel: u32, channels: u32, plane: u32) -> u32 {
    return (p.image * channels + channel) * plane + p.pixel;
}

// A number for each value that a place has: all four, or the first alone.
fn for_each(v: f32) -> vec4<f32> {
    return select(vec4(v, 0.0, 0.0, 0.0), vec4(v), PLANE_VEC4);
}

// How many values so many places have.
fn values_in(places: u32) -> f32 {
    return f32(places * select(1u, 4u, PLANE_VEC4));
}

fn sum_of(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}
