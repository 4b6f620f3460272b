
// The windows of mean pooling. Uses `params`.

override KERNEL_H: u32 = 1u;
override KERNEL_W: u32 = 1u;
override STRIDE_H: u32 = 1u;
override STRIDE_W: u32 = 1u;
override PAD_TOP: u32 = 0u;
override PAD_BOTTOM: u32 = 0u;
override PAD_LEFT: u32 = 0u;
override PAD_RIGHT: u32 = 0u;
override COUNT_PADDING: bool = true;

// The part of a window inside the plane, and what its sum is divided by.
struct Window {
    y_begin: u32,
    y_end: u32,
    x_begin: u32,
    x_end: u32,
    divisor: f32,
}

fn window_at(oy: u32, ox: u32) -> Window {
    // In the padded plane; a last window may reach beyond even that.
    let top = oy * STRIDE_H;
    let left = ox * STRIDE_W;
    let bottom = min(top + KERNEL_H, PAD_TOP + params.in_height + PAD_BOTTOM);
    let right = min(left + KERNEL_W, PAD_LEFT + params.in_width + PAD_RIGHT);
    var window = Window(
        max(top, PAD_TOP) - PAD_TOP,
        min(max(bottom, PAD_TOP) - PAD_TOP, params.in_height),
        max(left, PAD_LEFT) - PAD_LEFT,
        min(max(right, PAD_LEFT) - PAD_LEFT, params.in_width),
        f32((bottom - top) * (right - left)),
    );
    if !COUNT_PADDING {
        window.divisor = f32((window.y_end - window.y_begin) * (window.x_end - window.x_begin));
    }
    return window;
}
