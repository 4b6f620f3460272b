// The channels of four neighbouring elements of (N, C, plane).

// Whether a plane consists of whole vectors, so that the four have one channel.
override PLANE_VEC4: bool = false;

// `at` counts in vectors.
fn channels_of(at: u32, plane: u32, channels: u32) -> vec4<u32> {
    if PLANE_VEC4 { return vec4(4u * at / plane % channels); }
    return (4u * at + vec4(0u, 1u, 2u, 3u)) / plane % channels;
}

// Which of the four there are, of so many elements. What is behind the last one is anything, and counts as 0.
fn elements_inside(at: u32, elements: u32) -> vec4<bool> {
    return 4u * at + vec4(0u, 1u, 2u, 3u) < vec4(elements);
}
