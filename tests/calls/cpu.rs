//! The reference's functions on slices.

use wgpu_cnn::Target;
use wgpu_cnn::cpu::{self, Real};
use wgpu_cnn::op::{
    Broadcast, Conv2dGeometry, LinearGeometry, LossGeometry, Pool2dGeometry, PreluGeometry,
    SoftmaxGeometry,
};

use crate::call::Call;
use crate::draw::Draw;
use crate::op;

/// A function that is generic over the numbers, with either kind.
macro_rules! both {
    ($function:ident) => {
        |draw| match draw.flag() {
            true => $function::<f32>(draw),
            false => $function::<f64>(draw),
        }
    };
}
pub(crate) use both;

pub fn calls() -> Vec<Call> {
    vec![
        Call::quick(&["cpu::matmul"], both!(matmul)),
        Call::quick(
            &[
                "cpu::linear_forward",
                "cpu::linear_backward_input",
                "cpu::linear_backward_weight",
                "cpu::linear_backward_bias",
            ],
            both!(linear),
        ),
        Call::quick(
            &[
                "cpu::conv2d_forward",
                "cpu::conv2d_backward_input",
                "cpu::conv2d_backward_weight",
                "cpu::conv2d_backward_bias",
            ],
            both!(conv2d),
        ),
        Call::quick(
            &[
                "cpu::conv_transpose2d_forward",
                "cpu::conv_transpose2d_backward_input",
                "cpu::conv_transpose2d_backward_weight",
                "cpu::conv_transpose2d_backward_bias",
            ],
            both!(conv_transpose2d),
        ),
        Call::quick(
            &["cpu::max_pool2d_forward", "cpu::max_pool2d_backward"],
            both!(max_pool2d),
        ),
        Call::quick(
            &["cpu::avg_pool2d_forward", "cpu::avg_pool2d_backward"],
            both!(avg_pool2d),
        ),
        Call::quick(
            &["cpu::softmax_pool_forward", "cpu::softmax_pool_backward"],
            both!(softmax_pool),
        ),
        Call::quick(
            &["cpu::activation_forward", "cpu::activation_backward"],
            both!(activation),
        ),
        Call::quick(
            &["cpu::softmax_forward", "cpu::softmax_backward"],
            both!(softmax),
        ),
        Call::quick(&["cpu::dropout", "cpu::dropout_spans"], both!(dropout)),
        Call::quick(&["cpu::pad2d_forward", "cpu::pad2d_backward"], both!(pad2d)),
        Call::quick(
            &[
                "cpu::prelu_forward",
                "cpu::prelu_backward_input",
                "cpu::prelu_backward_weight",
            ],
            both!(prelu),
        ),
        Call::quick(
            &["cpu::concat_forward", "cpu::concat_backward"],
            both!(concat),
        ),
        Call::quick(&["cpu::loss_forward_backward"], both!(loss)),
        Call::quick(&["cpu::optimizer_update"], both!(optimizer)),
        Call::quick(&["cpu::average_update"], both!(average)),
        Call::quick(&["cpu::global_norm", "cpu::clip_scale"], both!(clip)),
        Call::quick(&["Real::nearest", "Real::wide"], both!(nearest)),
        Call::quick(&["Real::as_f32", "Real::as_f32_mut"], both!(singles)),
    ]
}

fn nearest<T: Real>(draw: &mut Draw) -> bool {
    let (real, number) = (draw.real(), draw.number());
    let _ = [T::nearest(number), T::nearest(-1i64)];
    T::nearest(real).wide().is_nan() == real.is_nan()
}

/// Slices of single precision are given as they are, others not at all.
fn singles<T: Real>(d: &mut Draw) -> bool {
    let len = d.number();
    let mut values = d.floats::<T>(len);
    let single = size_of::<T>() == size_of::<f32>();
    let same = single.then(|| (values.as_ptr().cast::<f32>(), values.len()));
    let place = |values: &[f32]| (values.as_ptr(), values.len());
    assert_eq!(T::as_f32(&values).map(place), same);
    assert_eq!(T::as_f32_mut(&mut values).map(|values| place(values)), same);
    true
}

fn matmul<T: Real>(d: &mut Draw) -> bool {
    let [m, n, k] = d.numbers();
    let a = d.floats::<T>(Draw::elements(&[m, k]));
    let b = d.floats(Draw::elements(&[k, n]));
    let mut c = d.floats(Draw::elements(&[m, n]));
    cpu::matmul(m, n, k, &a, d.flag(), &b, d.flag(), &mut c).is_ok()
}

fn linear<T: Real>(d: &mut Draw) -> bool {
    let [rows, in_features, out_features] = d.numbers();
    let geometry = LinearGeometry {
        rows,
        in_features,
        out_features,
    };
    let mut x = d.floats::<T>(Draw::elements(&[rows, in_features]));
    let mut w = d.floats(Draw::elements(&[out_features, in_features]));
    let mut y = d.floats(Draw::elements(&[rows, out_features]));
    let mut bias = d.floats(out_features);
    match d.below(4) {
        0 => {
            let bias = d.flag().then_some(&bias[..]);
            cpu::linear_forward(&geometry, &x, &w, bias, &mut y).is_ok()
        }
        1 => cpu::linear_backward_input(&geometry, &y, &w, &mut x).is_ok(),
        2 => cpu::linear_backward_weight(&geometry, &x, &y, &mut w).is_ok(),
        _ => cpu::linear_backward_bias(&geometry, &y, &mut bias).is_ok(),
    }
}

/// A convolution's extents: those of a layer, or with some of them replaced.
fn conv2d_geometry(d: &mut Draw, transpose: bool) -> Conv2dGeometry {
    let (batch, input) = (d.number(), d.image());
    let made = match transpose {
        true => op::conv_transpose2d(d).geometry(batch, &input),
        false => op::conv2d(d).geometry(batch, &input),
    };
    let mut geometry = made.unwrap_or(Conv2dGeometry {
        batch: d.number(),
        groups: d.number(),
        in_channels: d.number(),
        in_size: d.size(),
        out_channels: d.number(),
        out_size: d.size(),
        kernel: d.size(),
        stride: d.size(),
        padding: d.numbers(),
        dilation: d.size(),
    });
    if d.is_hostile() {
        match d.below(9) {
            0 => geometry.batch = d.number(),
            1 => geometry.groups = d.number(),
            2 => geometry.in_channels = d.number(),
            3 => geometry.in_size = d.size(),
            4 => geometry.out_channels = d.number(),
            5 => geometry.out_size = d.size(),
            6 => geometry.kernel = d.size(),
            7 => geometry.padding = d.numbers(),
            _ => (geometry.stride, geometry.dilation) = (d.size(), d.size()),
        }
    }
    geometry
}

fn conv2d<T: Real>(d: &mut Draw) -> bool {
    let g = conv2d_geometry(d, false);
    let (mut x, mut y) = (d.floats::<T>(g.input_len()), d.floats(g.output_len()));
    let (mut w, mut bias) = (d.floats(g.weight_len()), d.floats(g.out_channels));
    match d.below(4) {
        0 => {
            let bias = d.flag().then_some(&bias[..]);
            cpu::conv2d_forward(&g, &x, &w, bias, &mut y).is_ok()
        }
        1 => cpu::conv2d_backward_input(&g, &y, &w, &mut x).is_ok(),
        2 => cpu::conv2d_backward_weight(&g, &x, &y, &mut w).is_ok(),
        _ => cpu::conv2d_backward_bias(&g, &y, &mut bias).is_ok(),
    }
}

fn conv_transpose2d<T: Real>(d: &mut Draw) -> bool {
    let g = conv2d_geometry(d, true);
    let (mut x, mut y) = (d.floats::<T>(g.output_len()), d.floats(g.input_len()));
    let (mut w, mut bias) = (d.floats(g.weight_len()), d.floats(g.in_channels));
    match d.below(4) {
        0 => {
            let bias = d.flag().then_some(&bias[..]);
            cpu::conv_transpose2d_forward(&g, &x, &w, bias, &mut y).is_ok()
        }
        1 => cpu::conv_transpose2d_backward_input(&g, &y, &w, &mut x).is_ok(),
        2 => cpu::conv_transpose2d_backward_weight(&g, &x, &y, &mut w).is_ok(),
        _ => cpu::conv_transpose2d_backward_bias(&g, &y, &mut bias).is_ok(),
    }
}

/// The extents of a pooling: those of a layer, or with some of them replaced.
fn pool_geometry(d: &mut Draw) -> Pool2dGeometry {
    let (batch, input) = (d.number(), d.image());
    let made = match d.below(3) {
        0 => op::max_pool2d(d).geometry(batch, &input),
        1 => op::avg_pool2d(d).geometry(batch, &input),
        _ => op::global_pool(d).geometry(batch, &input),
    };
    let mut geometry = made.unwrap_or(Pool2dGeometry {
        planes: d.number(),
        in_size: d.size(),
        out_size: d.size(),
        kernel: d.size(),
        stride: d.size(),
        padding: d.numbers(),
        dilation: d.size(),
    });
    if d.is_hostile() {
        match d.below(6) {
            0 => geometry.planes = d.number(),
            1 => geometry.in_size = d.size(),
            2 => geometry.out_size = d.size(),
            3 => geometry.kernel = d.size(),
            4 => geometry.padding = d.numbers(),
            _ => (geometry.stride, geometry.dilation) = (d.size(), d.size()),
        }
    }
    geometry
}

fn max_pool2d<T: Real>(d: &mut Draw) -> bool {
    let g = pool_geometry(d);
    let (mut x, mut y) = (d.floats::<T>(g.input_len()), d.floats(g.output_len()));
    let places = d.length(g.output_len());
    let mut argmax: Vec<u32> = (0..places).map(|_| d.number() as u32).collect();
    match d.flag() {
        true => cpu::max_pool2d_forward(&g, &x, &mut y, &mut argmax).is_ok(),
        false => cpu::max_pool2d_backward(&g, &y, &argmax, &mut x).is_ok(),
    }
}

fn avg_pool2d<T: Real>(d: &mut Draw) -> bool {
    let g = pool_geometry(d);
    let (mut x, mut y) = (d.floats::<T>(g.input_len()), d.floats(g.output_len()));
    match d.flag() {
        true => cpu::avg_pool2d_forward(&g, d.flag(), &x, &mut y).is_ok(),
        false => cpu::avg_pool2d_backward(&g, d.flag(), &y, &mut x).is_ok(),
    }
}

fn softmax_pool<T: Real>(d: &mut Draw) -> bool {
    let g = pool_geometry(d);
    let (x, mut y) = (d.floats::<T>(g.input_len()), d.floats(g.planes));
    let mut gx = d.floats(g.input_len());
    match d.flag() {
        true => cpu::softmax_pool_forward(&g, &x, &mut y).is_ok(),
        false => cpu::softmax_pool_backward(&g, &x, &y, &mut gx).is_ok(),
    }
}

fn activation<T: Real>(d: &mut Draw) -> bool {
    let (function, len) = (d.activation(), d.number());
    let (x, mut y) = (d.floats::<T>(len), d.floats(len));
    let (gy, mut gx) = (d.floats(len), d.floats(len));
    match d.flag() {
        true => cpu::activation_forward(function, &x, &mut y).is_ok(),
        false => cpu::activation_backward(function, &x, &y, &gy, &mut gx).is_ok(),
    }
}

fn softmax<T: Real>(d: &mut Draw) -> bool {
    let [outer, extent, inner] = d.numbers();
    let g = SoftmaxGeometry {
        outer,
        extent,
        inner,
    };
    let (x, mut y) = (d.floats::<T>(g.input_len()), d.floats(g.input_len()));
    let gy = d.floats(g.input_len());
    match d.flag() {
        true => cpu::softmax_forward(&g, d.flag(), &x, &mut y).is_ok(),
        false => cpu::softmax_backward(&g, d.flag(), &x, &gy, &mut y).is_ok(),
    }
}

fn dropout<T: Real>(d: &mut Draw) -> bool {
    let (probability, len) = (d.real(), d.number());
    let [seed, step, layer] = d.numbers::<3>();
    let (x, mut y) = (d.floats::<T>(len), d.floats(len));
    if d.flag() {
        let (span, [seed, step]) = (d.number(), [seed as u64, step as u64]);
        return cpu::dropout_spans(probability, span, seed, step, layer as u32, &x, &mut y).is_ok();
    }
    cpu::dropout(
        probability,
        seed as u64,
        step as u64,
        layer as u32,
        &x,
        &mut y,
    )
    .is_ok()
}

fn pad2d<T: Real>(d: &mut Draw) -> bool {
    let (layer, batch, input) = (op::pad2d(d), d.number(), d.image());
    let Ok(mut g) = layer.geometry(batch, &input) else {
        return false;
    };
    if d.is_hostile() {
        (g.planes, g.in_size, g.padding) = (d.number(), d.size(), d.numbers());
        g.mode = d.padding_mode();
    }
    let (mut x, mut y) = (d.floats::<T>(g.input_len()), d.floats(g.output_len()));
    match d.flag() {
        true => cpu::pad2d_forward(&g, &x, &mut y).is_ok(),
        false => cpu::pad2d_backward(&g, &y, &mut x).is_ok(),
    }
}

fn prelu<T: Real>(d: &mut Draw) -> bool {
    let [batch, channels, plane] = d.numbers();
    let g = PreluGeometry {
        batch,
        channels,
        plane,
    };
    let len = Draw::elements(&[batch, channels, plane]);
    let (x, gy, mut y) = (d.floats::<T>(len), d.floats::<T>(len), d.floats(len));
    let mut w = d.floats::<T>(channels);
    match d.below(3) {
        0 => cpu::prelu_forward(&g, &x, &w, &mut y).is_ok(),
        1 => cpu::prelu_backward_input(&g, &x, &w, &gy, &mut y).is_ok(),
        _ => cpu::prelu_backward_weight(&g, &x, &gy, &mut w).is_ok(),
    }
}

fn concat<T: Real>(d: &mut Draw) -> bool {
    let [batch, first, second] = d.numbers();
    let a = d.floats::<T>(Draw::elements(&[batch, first]));
    let b = d.floats::<T>(Draw::elements(&[batch, second]));
    let mut y = d.floats(Draw::elements(&[batch, first.saturating_add(second)]));
    let mut gx = a.clone();
    match d.below(3) {
        0 => cpu::concat_forward(batch, &[&a, &b], &mut y).is_ok(),
        1 => cpu::concat_backward(batch, first, &y, &mut gx).is_ok(),
        _ => cpu::concat_backward(batch, d.number(), &y, &mut gx).is_ok(),
    }
}

/// Labels or values, mostly as many as fit.
pub fn target(d: &mut Draw, rows: usize, classes: usize) -> Target {
    if d.flag() {
        let rows = d.length(rows);
        let labels = (0..rows).map(|_| (d.number() as i64).wrapping_sub(1));
        let labels: Vec<i64> = labels.collect();
        return labels.into();
    }
    Target::Values(d.floats(Draw::elements(&[rows, classes])))
}

fn loss<T: Real>(d: &mut Draw) -> bool {
    let [rows, classes] = d.numbers();
    let plane = if d.flag() { d.number() } else { 1 };
    let loss = op::loss(d, classes);
    let target = match d.flag() {
        true => target(d, rows, Draw::elements(&[classes, plane])),
        false => target(d, Draw::elements(&[rows, plane]), classes),
    };
    let weights = [(); 2].map(|()| match d.flag() {
        true => Broadcast::ONE,
        false => Broadcast {
            extent: d.number(),
            inner: d.number(),
        },
    });
    let geometry = LossGeometry {
        rows,
        classes,
        plane,
        weights,
    };
    let output = d.floats::<T>(Draw::elements(&[rows, classes, plane]));
    let mut gradient = d.floats(output.len());
    let normaliser = match d.flag() {
        true => loss.normaliser(&target, &geometry),
        false => d.real(),
    };
    cpu::loss_forward_backward(
        &loss,
        &geometry,
        normaliser,
        &output,
        &target,
        &mut gradient,
    )
    .is_ok()
}

fn optimizer<T: Real>(d: &mut Draw) -> bool {
    let (optimizer, step, len) = (op::optimizer(d), d.number() as u64, d.number());
    let (mut w, g) = (d.floats::<T>(len), d.floats(len));
    let slots = d.length(optimizer.state_slots());
    let mut state: Vec<_> = (0..slots).map(|_| d.floats(w.len())).collect();
    cpu::optimizer_update(&optimizer, step, &mut w, &g, &mut state).is_ok()
}

fn average<T: Real>(d: &mut Draw) -> bool {
    let (average, update, len) = (op::average(d), d.number() as u64, d.number());
    let (w, mut averaged) = (d.floats::<T>(len), d.floats(len));
    cpu::average_update(&average, update, &w, &mut averaged).is_ok()
}

fn clip<T: Real>(d: &mut Draw) -> bool {
    let lengths = d.numbers::<3>();
    let gradients = lengths.map(|len| d.floats::<T>(len));
    let norm = cpu::global_norm(gradients.iter().map(Vec::as_slice));
    let _ = cpu::clip_scale(d.real(), norm);
    true
}
