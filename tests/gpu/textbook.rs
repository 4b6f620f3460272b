//! What a textbook says of convolution and pooling, in numbers small enough to check by hand. Every
//! fact is stated once, for any [`Device`].

use wgpu_cnn::op::{Conv2dGeometry, Pool2dGeometry, Size2};
use wgpu_cnn::{Conv2d, Gpu, MaxPool2d, Tensor, cpu, ops};

use crate::common::plain_gpu;

/// The operations that the facts are about.
trait Device {
    /// `y` for `x (N, C, H, W)` and `w (O, C, KH, KW)`.
    fn conv2d_forward(&self, g: &Conv2dGeometry, x: &[f32], w: &[f32], b: &[f32]) -> Vec<f32>;
    fn conv2d_backward_input(&self, g: &Conv2dGeometry, gy: &[f32], w: &[f32]) -> Vec<f32>;
    fn conv2d_backward_weight(&self, g: &Conv2dGeometry, x: &[f32], gy: &[f32]) -> Vec<f32>;
    fn conv2d_backward_bias(&self, g: &Conv2dGeometry, gy: &[f32]) -> Vec<f32>;
    /// Values and argmax.
    fn max_pool2d_forward(&self, g: &Pool2dGeometry, x: &[f32]) -> (Vec<f32>, Vec<u32>);
    fn max_pool2d_backward(&self, g: &Pool2dGeometry, gy: &[f32], argmax: &[u32]) -> Vec<f32>;
}

struct Cpu;

/// A buffer of NaN, so that an element which is not written shows.
fn written(len: usize, write: impl FnOnce(&mut [f32]) -> wgpu_cnn::Result<()>) -> Vec<f32> {
    let mut buffer = vec![f32::NAN; len];
    write(&mut buffer).unwrap();
    buffer
}

impl Device for Cpu {
    fn conv2d_forward(&self, g: &Conv2dGeometry, x: &[f32], w: &[f32], b: &[f32]) -> Vec<f32> {
        written(g.output_len(), |y| cpu::conv2d_forward(g, x, w, Some(b), y))
    }

    fn conv2d_backward_input(&self, g: &Conv2dGeometry, gy: &[f32], w: &[f32]) -> Vec<f32> {
        written(g.input_len(), |gx| cpu::conv2d_backward_input(g, gy, w, gx))
    }

    fn conv2d_backward_weight(&self, g: &Conv2dGeometry, x: &[f32], gy: &[f32]) -> Vec<f32> {
        written(g.weight_len(), |gw| {
            cpu::conv2d_backward_weight(g, x, gy, gw)
        })
    }

    fn conv2d_backward_bias(&self, g: &Conv2dGeometry, gy: &[f32]) -> Vec<f32> {
        written(g.out_channels, |gb| cpu::conv2d_backward_bias(g, gy, gb))
    }

    fn max_pool2d_forward(&self, g: &Pool2dGeometry, x: &[f32]) -> (Vec<f32>, Vec<u32>) {
        let mut argmax = vec![0; g.output_len()];
        let y = written(g.output_len(), |y| {
            cpu::max_pool2d_forward(g, x, y, &mut argmax)
        });
        (y, argmax)
    }

    fn max_pool2d_backward(&self, g: &Pool2dGeometry, gy: &[f32], argmax: &[u32]) -> Vec<f32> {
        written(g.input_len(), |gx| {
            cpu::max_pool2d_backward(g, gy, argmax, gx)
        })
    }
}

/// One plane, pooled by 2x2 windows.
fn pool_2x2(in_size: usize, stride: usize) -> Pool2dGeometry {
    Pool2dGeometry {
        planes: 1,
        in_size: in_size.into(),
        out_size: ((in_size - 2) / stride + 1).into(),
        kernel: 2.into(),
        stride: stride.into(),
        padding: [0; 4],
        dilation: Size2::ONE,
    }
}

/// Overlapping windows: two of them share the 7, where their gradients add up.
fn overlapping_windows_share_a_maximum(device: &impl Device) {
    #[rustfmt::skip]
    let v = [
        3.0, 2.0, 5.0,
        4.0, 1.0, 7.0,
        3.0, 5.0, 0.0,
    ];
    let geometry = pool_2x2(3, 1);
    let (y, argmax) = device.max_pool2d_forward(&geometry, &v);
    assert_eq!(y, [4.0, 7.0, 5.0, 7.0]);
    assert_eq!(argmax, [3, 5, 7, 5]);
    // Row-major inside each window, whose upper left corner is that of its output.
    let corners = [0, 1, 3, 4];
    let inside = argmax.iter().zip(corners).map(|(&at, corner)| {
        let (row, column) = ((at - corner) / 3, (at - corner) % 3);
        2 * row + column
    });
    assert!(inside.eq([2, 3, 3, 1]));
    #[rustfmt::skip]
    let expected = [
        0.0, 0.0, 0.0,
        1.0, 0.0, 2.0 + 4.0,
        0.0, 3.0, 0.0,
    ];
    assert_eq!(
        device.max_pool2d_backward(&geometry, &[1.0, 2.0, 3.0, 4.0], &argmax),
        expected
    );
}

/// Windows that touch: the gradient lies at the four maxima alone.
fn touching_windows_keep_their_gradients_apart(device: &impl Device) {
    #[rustfmt::skip]
    let a = [
        5.0, 2.0, 7.0, 4.0,
        6.0, 3.0, 2.0, 1.0,
        8.0, 6.0, 5.0, 9.0,
        1.0, 3.0, 6.0, 1.0,
    ];
    let geometry = pool_2x2(4, 2);
    let (y, argmax) = device.max_pool2d_forward(&geometry, &a);
    assert_eq!(y, [6.0, 7.0, 8.0, 9.0]);
    assert_eq!(argmax, [4, 2, 8, 11]);
    #[rustfmt::skip]
    let expected = [
        0.0, 0.0, 2.0, 0.0,
        1.0, 0.0, 0.0, 0.0,
        3.0, 0.0, 0.0, 4.0,
        0.0, 0.0, 0.0, 0.0,
    ];
    assert_eq!(
        device.max_pool2d_backward(&geometry, &[1.0, 2.0, 3.0, 4.0], &argmax),
        expected
    );
}

/// A convolution at stride 1.
fn conv(
    [in_channels, height, width]: [usize; 3],
    out_channels: usize,
    kernel: [usize; 2],
    padding: [usize; 4],
) -> Conv2dGeometry {
    let [top, bottom, left, right] = padding;
    let out_size = [
        height + top + bottom + 1 - kernel[0],
        width + left + right + 1 - kernel[1],
    ];
    Conv2dGeometry {
        batch: 1,
        groups: 1,
        in_channels,
        in_size: [height, width].into(),
        out_channels,
        out_size: out_size.into(),
        kernel: kernel.into(),
        stride: Size2::ONE,
        padding,
        dilation: Size2::ONE,
    }
}

/// Small integers, whose sums are exact in any order.
fn integers(len: usize, seed: usize) -> Vec<f32> {
    (0..len)
        .map(|i| ((i * 7 + i / 5 + seed * 5) % 11) as f32 - 5.0)
        .collect()
}

/// What a two-layer perceptron gives and learns: `y = W2 relu(W1 x + b1) + b2`.
#[derive(Debug, PartialEq)]
struct Pass {
    y: Vec<f32>,
    gx: Vec<f32>,
    gw1: Vec<f32>,
    gb1: Vec<f32>,
    gw2: Vec<f32>,
    gb2: Vec<f32>,
}

/// The perceptron's weights, the image that it scans, and the gradient of its outputs.
struct Scan {
    channels: usize,
    size: usize,
    kernel: usize,
    hidden: usize,
    outputs: usize,
    x: Vec<f32>,
    w1: Vec<f32>,
    b1: Vec<f32>,
    w2: Vec<f32>,
    b2: Vec<f32>,
    gy: Vec<f32>,
}

impl Scan {
    fn new() -> Self {
        let [channels, size, kernel, hidden, outputs]: [usize; 5] = [2, 6, 3, 4, 3];
        let (inputs, positions) = (channels * kernel.pow(2), (size - kernel + 1).pow(2));
        Self {
            channels,
            size,
            kernel,
            hidden,
            outputs,
            x: integers(channels * size * size, 1),
            w1: integers(hidden * inputs, 2),
            b1: integers(hidden, 3),
            w2: integers(outputs * hidden, 4),
            b2: integers(outputs, 5),
            gy: integers(outputs * positions, 6),
        }
    }

    /// The same perceptron at every position, its gradients summed over the positions.
    fn position_by_position(&self) -> Pass {
        let zeros = |like: &[f32]| vec![0.0; like.len()];
        let mut pass = Pass {
            y: zeros(&self.gy),
            gx: zeros(&self.x),
            gw1: zeros(&self.w1),
            gb1: zeros(&self.b1),
            gw2: zeros(&self.w2),
            gb2: zeros(&self.b2),
        };
        let (side, kernel) = (self.size - self.kernel + 1, self.kernel);
        let inputs = self.channels * kernel * kernel;
        for position in 0..side * side {
            // The pixels that the perceptron sees from here, in the order of its weights.
            let (row, column) = (position / side, position % side);
            let pixel = |t: usize| {
                let (c, p, q) = (t / (kernel * kernel), t / kernel % kernel, t % kernel);
                (c * self.size + row + p) * self.size + column + q
            };
            let hidden: Vec<f32> = (0..self.hidden)
                .map(|h| {
                    let terms = (0..inputs).map(|t| self.w1[h * inputs + t] * self.x[pixel(t)]);
                    (terms.sum::<f32>() + self.b1[h]).max(0.0)
                })
                .collect();
            let mut hidden_gradient = vec![0.0; self.hidden];
            for o in 0..self.outputs {
                let w2 = &self.w2[o * self.hidden..][..self.hidden];
                let y: f32 = w2.iter().zip(&hidden).map(|(w, h)| w * h).sum();
                let gy = self.gy[o * side * side + position];
                pass.y[o * side * side + position] = y + self.b2[o];
                pass.gb2[o] += gy;
                for h in 0..self.hidden {
                    pass.gw2[o * self.hidden + h] += gy * hidden[h];
                    hidden_gradient[h] += gy * w2[h];
                }
            }
            for h in (0..self.hidden).filter(|&h| hidden[h] > 0.0) {
                pass.gb1[h] += hidden_gradient[h];
                for t in 0..inputs {
                    pass.gw1[h * inputs + t] += hidden_gradient[h] * self.x[pixel(t)];
                    pass.gx[pixel(t)] += hidden_gradient[h] * self.w1[h * inputs + t];
                }
            }
        }
        pass
    }

    /// The perceptron's layers as convolutions: its first with the kernel's extent, its second 1x1.
    fn as_convolutions(&self, device: &impl Device) -> Pass {
        let side = self.size - self.kernel + 1;
        let image = [self.channels, self.size, self.size];
        let first = conv(image, self.hidden, [self.kernel; 2], [0; 4]);
        let second = conv([self.hidden, side, side], self.outputs, [1; 2], [0; 4]);
        let sums = device.conv2d_forward(&first, &self.x, &self.w1, &self.b1);
        let hidden: Vec<f32> = sums.iter().map(|sum| sum.max(0.0)).collect();
        let mut gradient = device.conv2d_backward_input(&second, &self.gy, &self.w2);
        for (gradient, _) in gradient
            .iter_mut()
            .zip(&hidden)
            .filter(|(_, hidden)| **hidden == 0.0)
        {
            *gradient = 0.0;
        }
        Pass {
            y: device.conv2d_forward(&second, &hidden, &self.w2, &self.b2),
            gx: device.conv2d_backward_input(&first, &gradient, &self.w1),
            gw1: device.conv2d_backward_weight(&first, &self.x, &gradient),
            gb1: device.conv2d_backward_bias(&first, &gradient),
            gw2: device.conv2d_backward_weight(&second, &hidden, &self.gy),
            gb2: device.conv2d_backward_bias(&second, &self.gy),
        }
    }
}

/// Convolution is a perceptron that scans the image with shared weights.
fn scanning_perceptron_is_convolution(device: &impl Device) {
    let scan = Scan::new();
    let expected = scan.position_by_position();
    assert!(
        expected
            .gx
            .iter()
            .filter(|&&gradient| gradient != 0.0)
            .count()
            > 50
    );
    assert_eq!(scan.as_convolutions(device), expected);
}

/// `(O, C, KH, KW)` as `(C, O, KH, KW)`, each filter turned by half a circle.
fn flipped_and_swapped(w: &[f32], outputs: usize, channels: usize, taps: usize) -> Vec<f32> {
    let element = |at: usize| {
        let (c, o, tap) = (at / (outputs * taps), at / taps % outputs, at % taps);
        w[(o * channels + c) * taps + taps - 1 - tap]
    };
    (0..w.len()).map(element).collect()
}

/// The input gradient is the output gradient, padded, convolved with the flipped filters with their
/// channels swapped.
fn input_gradient_is_convolution_with_the_flipped_filter(device: &impl Device) {
    for (kernel, padding) in [([3, 3], [0; 4]), ([2, 4], [0; 4]), ([3, 4], [1, 2, 0, 3])] {
        let (channels, outputs, [kh, kw]) = (2, 3, kernel);
        let forward = conv([channels, 6, 7], outputs, kernel, padding);
        let (w, gy) = (
            integers(forward.weight_len(), 1),
            integers(forward.output_len(), 2),
        );
        let [top, bottom, left, right] = padding;
        let full = [kh - 1 - top, kh - 1 - bottom, kw - 1 - left, kw - 1 - right];
        let Size2 { height, width } = forward.out_size;
        let transposed = conv([outputs, height, width], channels, kernel, full);
        let flipped = flipped_and_swapped(&w, outputs, channels, kh * kw);
        let expected = device.conv2d_forward(&transposed, &gy, &flipped, &vec![0.0; channels]);
        assert!(expected.iter().filter(|&&gradient| gradient != 0.0).count() > 60);
        assert_eq!(
            device.conv2d_backward_input(&forward, &gy, &w),
            expected,
            "{kernel:?}"
        );
    }
}

/// The kernels. Absent only where there is no adapter and none is required.
struct Kernels(&'static Gpu);

fn kernels() -> Option<Kernels> {
    plain_gpu().map(Kernels)
}

impl Kernels {
    fn tensor(&self, shape: [usize; 4], data: &[f32]) -> Tensor {
        Tensor::from_slice(self.0, shape, data).unwrap()
    }
}

fn layer(g: &Conv2dGeometry) -> Conv2d {
    Conv2d::new(g.out_channels, g.kernel)
        .stride(g.stride)
        .padding(g.padding)
        .dilation(g.dilation)
        .groups(g.groups)
}

fn pool(g: &Pool2dGeometry) -> MaxPool2d {
    let pool = MaxPool2d::new(g.kernel).stride(g.stride);
    pool.padding(g.padding).dilation(g.dilation)
}

fn shape(batch: usize, channels: usize, size: Size2) -> [usize; 4] {
    [batch, channels, size.height, size.width]
}

impl Device for Kernels {
    fn conv2d_forward(&self, g: &Conv2dGeometry, x: &[f32], w: &[f32], b: &[f32]) -> Vec<f32> {
        let x = self.tensor(shape(g.batch, g.in_channels, g.in_size), x);
        let w = self.tensor(g.weight_shape(), w);
        let b = Tensor::from_slice(self.0, [b.len()], b).unwrap();
        let y = ops::conv2d_forward(&x, &w, Some(&b), &layer(g));
        y.unwrap().to_vec().unwrap()
    }

    fn conv2d_backward_input(&self, g: &Conv2dGeometry, gy: &[f32], w: &[f32]) -> Vec<f32> {
        let gy = self.tensor(shape(g.batch, g.out_channels, g.out_size), gy);
        let w = self.tensor(g.weight_shape(), w);
        let input = shape(g.batch, g.in_channels, g.in_size);
        let gx = ops::conv2d_backward_input(&gy, &w, input, &layer(g));
        gx.unwrap().to_vec().unwrap()
    }

    fn conv2d_backward_weight(&self, g: &Conv2dGeometry, x: &[f32], gy: &[f32]) -> Vec<f32> {
        let x = self.tensor(shape(g.batch, g.in_channels, g.in_size), x);
        let gy = self.tensor(shape(g.batch, g.out_channels, g.out_size), gy);
        let gw = ops::conv2d_backward_weight(&x, &gy, &layer(g));
        gw.unwrap().to_vec().unwrap()
    }

    fn conv2d_backward_bias(&self, g: &Conv2dGeometry, gy: &[f32]) -> Vec<f32> {
        let gy = self.tensor(shape(g.batch, g.out_channels, g.out_size), gy);
        ops::bias_gradient(&gy).unwrap().to_vec().unwrap()
    }

    fn max_pool2d_forward(&self, g: &Pool2dGeometry, x: &[f32]) -> (Vec<f32>, Vec<u32>) {
        let x = self.tensor(shape(1, g.planes, g.in_size), x);
        let (y, argmax) = ops::max_pool2d_forward(&x, &pool(g)).unwrap();
        (y.to_vec().unwrap(), argmax.to_vec().unwrap())
    }

    fn max_pool2d_backward(&self, g: &Pool2dGeometry, gy: &[f32], argmax: &[u32]) -> Vec<f32> {
        let windows = shape(1, g.planes, g.out_size);
        let gy = self.tensor(windows, gy);
        let argmax = Tensor::from_slice(self.0, windows, argmax).unwrap();
        let input = shape(1, g.planes, g.in_size);
        let gx = ops::max_pool2d_backward(&gy, &argmax, input, &pool(g));
        gx.unwrap().to_vec().unwrap()
    }
}

/// Every fact, on one device.
macro_rules! facts {
    ($module:ident, $device:expr) => {
        mod $module {
            facts!(@each $device;
                overlapping_windows_share_a_maximum
                touching_windows_keep_their_gradients_apart
                scanning_perceptron_is_convolution
                input_gradient_is_convolution_with_the_flipped_filter
            );
        }
    };
    (@each $device:expr; $($fact:ident)*) => {$(
        #[test]
        fn $fact() {
            if let Some(device) = $device {
                super::$fact(&device);
            }
        }
    )*};
}
facts!(on_cpu, Some(super::Cpu));
facts!(on_gpu, super::kernels());
