
const INVOCATIONS: u32 = 64u;
