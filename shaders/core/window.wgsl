
// The window of a convolution or a pooling.
override KERNEL_H: u32 = 1u;
override KERNEL_W: u32 = 1u;
override STRIDE_H: u32 = 1u;
override STRIDE_W: u32 = 1u;
override PAD_TOP: u32 = 0u;
override PAD_LEFT: u32 = 0u;
override DILATION_H: u32 = 1u;
override DILATION_W: u32 = 1u;
