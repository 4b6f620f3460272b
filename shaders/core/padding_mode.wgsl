
// What lies around a plane: `PaddingMode::code` on the host.

override MODE: u32 = 0u;
const REFLECT: u32 = 1u;
const REPLICATE: u32 = 2u;
const CIRCULAR: u32 = 3u;
