
// The windows of pooling to a size: those of an axis of `input` values that becomes `output`.

// Window i: what part i of `output` equal ones touches, from the first value on and before the second. With
// the two extents exchanged, it is the windows that reach position i.
fn span(i: u32, input: u32, output: u32) -> vec2<u32> {
    let end = quotient(i + 1u, input, 0, output);
    return vec2(quotient(i, input, 0, output).whole, end.whole + min(end.rest, 1u));
}
