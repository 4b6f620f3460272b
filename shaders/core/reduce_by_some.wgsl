
// Of a workgroup: 64; or 8 on software adapters, where the invocations of a larger one run one after the other and
// each barrier stops all of them.
override INVOCATIONS: u32 = 64u;
