//! The kernels of src/gpu/kernels/select.rs: ranges along an axis, and channels in another order.

use wgpu_cnn::{Branch, ChannelPermute, ChannelShuffle, Loss, Model, Slice, Trainer, cpu, ops};

use crate::common::{assert_error, each_gpu, integers, poisoned_gpus, random, tensor};
use crate::compare::{assert_bits, assert_same};

/// Values that a copy must not touch.
fn odd_bits(len: usize) -> Vec<f32> {
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-40, 3.5];
    (0..len).map(|at| special[at * 7 % 11 % 6]).collect()
}

#[test]
fn ranges_equal_the_reference_bit_by_bit() {
    let cases: [(&[usize], Slice); 9] = [
        (&[2, 6, 4, 4], Slice::channels(1..4)),
        (&[3, 5, 3, 3], Slice::channels(4..5)),
        (&[2, 3, 7, 5], Slice::rows(1..5)),
        (&[2, 3, 8, 4], Slice::rows(3..8)),
        (&[1, 3, 5, 8], Slice::columns(2..7)),
        (&[2, 3, 5, 16], Slice::columns(4..12)),
        (&[2, 3, 11], Slice::rows(0..10)),
        (&[9, 7], Slice::channels(6..7)),
        (&[2, 3, 41, 67], Slice::columns(1..67)),
    ];
    for (shape, layer) in cases {
        let (batch, example) = (shape[0], shape[1..].into());
        let geometry = layer.geometry(batch, &example).unwrap();
        let range = layer.from..layer.to;
        let x = odd_bits(shape.iter().product());
        let mut y = vec![0.0; geometry.len_of(range.len())];
        cpu::slice_forward(&geometry, range.clone(), &x, &mut y).unwrap();
        let mut gx = x.clone();
        cpu::slice_backward(&geometry, range, &y, &mut gx).unwrap();
        for (device, gpu) in each_gpu() {
            let name = format!("{layer:?} of {shape:?} on {device}");
            let part = ops::slice(&tensor(gpu, shape, &x), &layer).unwrap();
            assert_bits(&name, &part.to_vec().unwrap(), &y);
            let gradient = ops::slice_backward(&part, shape, &layer).unwrap();
            assert_bits(&name, &gradient.to_vec().unwrap(), &gx);
        }
    }
}

#[test]
fn channels_in_another_order_equal_the_reference() {
    let shapes: [&[usize]; 4] = [&[2, 6, 4, 4], &[3, 6, 3, 5], &[1, 6, 7], &[11, 6]];
    for shape in shapes {
        let (batch, example) = (shape[0], shape[1..].into());
        let len: usize = shape.iter().product();
        for groups in [1, 2, 3, 6] {
            let layer = ChannelShuffle::new(groups);
            let geometry = layer.geometry(batch, &example).unwrap();
            let (x, mut y) = (odd_bits(len), vec![0.0; len]);
            cpu::channel_shuffle_forward(&geometry, groups, &x, &mut y).unwrap();
            for (device, gpu) in each_gpu() {
                let name = format!("{layer:?} of {shape:?} on {device}");
                let mixed = ops::channel_shuffle(&tensor(gpu, shape, &x), &layer).unwrap();
                assert_bits(&name, &mixed.to_vec().unwrap(), &y);
                let back = ChannelShuffle::new(6 / groups);
                let back = ops::channel_shuffle(&mixed, &back).unwrap();
                assert_bits(&name, &back.to_vec().unwrap(), &x);
            }
        }
        let indices: [&[usize]; 4] = [&[5, 3, 1, 0, 2, 4], &[2], &[0, 0, 5, 0, 1], &[1; 70]];
        for index in indices {
            let layer = ChannelPermute::new(index);
            let geometry = layer.geometry(batch, &example).unwrap();
            let rng = &mut random(len as u64);
            let (x, mut y) = (odd_bits(len), vec![0.0; geometry.len_of(index.len())]);
            cpu::channel_permute_forward(&geometry, index, &x, &mut y).unwrap();
            let (gy, mut gx) = (integers(rng, y.len()), x.clone());
            cpu::channel_permute_backward(&geometry, index, &gy, &mut gx).unwrap();
            for (device, gpu) in each_gpu() {
                let name = format!("{index:?} of {shape:?} on {device}");
                let taken = ops::channel_permute(&tensor(gpu, shape, &x), &layer).unwrap();
                assert_bits(&name, &taken.to_vec().unwrap(), &y);
                let gy = tensor(gpu, taken.shape(), &gy);
                let gradient = ops::channel_permute_backward(&gy, shape, &layer).unwrap();
                assert_same(&name, &gradient.to_vec().unwrap(), &gx);
            }
        }
    }
}

/// Ranges that overlap, that leave something out, and whose value is read by others too.
#[test]
fn the_gradients_of_several_ranges_of_one_value_add_up() {
    let slice = |layer: Slice| Branch::new(move |branch| branch.push(layer));
    let model = Model::builder([2, 6, 4])
        .conv2d(8, 1)
        .relu()
        .concat([Slice::channels(1..4), Slice::channels(3..7)].map(slice))
        .residual(|body| body.channel_permute([0, 0, 6, 1, 2, 3, 3]))
        .slice(1, 1..5)
        .concat([slice(Slice::columns(0..2)), slice(Slice::columns(1..3))])
        .channel_shuffle(7)
        .build()
        .unwrap();
    for (device, gpu) in poisoned_gpus() {
        let builder = Trainer::builder(model.clone()).loss(Loss::mean_squared_error());
        let report = builder.batch(3).on(gpu).unwrap().verify().unwrap();
        assert!(report.passed(), "{device}: {report}");
    }
}

#[test]
fn what_is_no_part_of_a_tensor_is_refused() {
    for (_, gpu) in poisoned_gpus() {
        let x = tensor(gpu, [2, 3, 4], &[1.0; 24]);
        let said = ["slice", "0..3", "2..5"];
        assert_error(ops::slice(&x, &Slice::channels(2..5)), "shape", &said);
        let said = ["slice", "axis 2", "[3, 4]"];
        assert_error(ops::slice(&x, &Slice::columns(0..1)), "shape", &said);
        let said = ["output gradient", "[2, 2, 4]", "[2, 3, 4]"];
        let back = ops::slice_backward(&x, [2, 3, 4], &Slice::channels(0..2));
        assert_error(back, "shape", &said);
        let said = ["channel_shuffle", "2 groups", "3"];
        assert_error(
            ops::channel_shuffle(&x, &ChannelShuffle::new(2)),
            "shape",
            &said,
        );
        let said = ["channel_permute", "below 3", "7"];
        let layer = ChannelPermute::new([0, 7]);
        assert_error(ops::channel_permute(&x, &layer), "shape", &said);
    }
}
