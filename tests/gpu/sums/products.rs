//! Sums of products of one sign, on every core.

use wgpu_cnn::{Conv2d, Tensor, ops};

use crate::common::{each_core, tensor};

/// What a sum of so many products of one sign is off by at most, on a core. In the tiled ones, and the one for
/// subgroups, it is a chain of sums of blocks; in the others one chain of products.
fn share(core: &str, products: usize) -> f64 {
    let long = products > 1000;
    match core {
        core if core.starts_with("tiled") => [1e-6, 4e-6][usize::from(long)],
        _ => [1e-5, 1.6e-4][usize::from(long)],
    }
}

#[test]
fn products_of_one_sign_keep_their_digits_on_every_core() {
    for (device, gpu) in each_core() {
        for k in [1000, 16_000] {
            let [fill, ones] = [(16, 0.1), (8, 1.0)].map(|(n, value)| vec![value; n * k]);
            let expected = f64::from(0.1f32) * k as f64;
            let hold = |what: &str, got: Tensor| {
                for got in got.to_vec().unwrap() {
                    let (off, share) = ((f64::from(got) / expected - 1.0).abs(), share(device, k));
                    assert!(
                        off <= share,
                        "{what} of {k}, {device}: {got}, off by {off:e}"
                    );
                }
            };
            let x = tensor(gpu, [1, k, 4, 4], &fill);
            let w = tensor(gpu, [8, k, 1, 1], &ones);
            let y = ops::conv2d_forward(&x, &w, None, &Conv2d::new(8, 1));
            hold("results", y.unwrap());
            let w = tensor(gpu, [k, 8, 1, 1], &ones);
            let shape = [1, 8, 4, 4];
            let gx = ops::conv2d_backward_input(&x, &w, shape, &Conv2d::new(k, 1));
            hold("input gradients", gx.unwrap());
        }
        let k = 40_000;
        let rows = tensor(gpu, [4, k], &vec![0.1; 4 * k]);
        let columns = tensor(gpu, [k, 4], &vec![1.0; 4 * k]);
        let product = ops::matmul(&rows, false, &columns, false).unwrap();
        let expected = f64::from(0.1f32) * k as f64;
        // The core for subgroups has blocks of 128; a tiled one takes the others' place.
        let share = if device.contains("tiled") { 1e-6 } else { 2e-6 };
        for got in product.to_vec().unwrap() {
            let off = (f64::from(got) / expected - 1.0).abs();
            assert!(off <= share, "dense, {device}: {got}, off by {off:e}");
        }
    }
}
