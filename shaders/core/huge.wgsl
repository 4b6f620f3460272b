
// What gradients are scaled by where their squares overflow: 2^-96. Squares of the scaled ones do not, and
// those that underflow are nothing beside the others.
const HUGE_SCALE: f32 = 0x1p-96;
