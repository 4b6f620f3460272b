
// What the pixels of a strip meet in one row of the input, in a forward pass.

fn window(e: Elements) -> Window {
    var w: Window;
    if STRIDE_W == 1u {
        w = Window(
            e.a, slide(e.a, e.b, e.c, 1u), slide(e.a, e.b, e.c, 2u), slide(e.a, e.b, e.c, 3u),
            e.b, slide(e.a, e.b, e.c, 5u), slide(e.a, e.b, e.c, 6u),
        );
    } else {
        let even = vec4(e.a.xz, e.b.xz);
        let odd = vec4(e.a.yw, e.b.yw);
        let next_even = vec4(e.c.xz, e.d.xz);
        let next_odd = vec4(e.c.yw, e.d.yw);
        w = Window(
            even, odd, slide(even, next_even, next_even, 1u), slide(odd, next_odd, next_odd, 1u),
            slide(even, next_even, next_even, 2u), slide(odd, next_odd, next_odd, 2u), slide(even, next_even, next_even, 3u),
        );
    }
    return w;
}

// The same of row `y` of a plane of the input, which wraps to large numbers above it. The padding's zeros are
// factors too, as in PyTorch: they make NaN of infinity.
fn load_window(plane: u32, y: u32, x: u32) -> Window {
    var w = Window();
    if y < params.in_height { w = window(load_elements(plane * params.in_height + y, x)); }
    return w;
}
