//! What joins two values or selects from one: sums, products, factors, ranges, channels in another order.

use wgpu_cnn::cpu::{self, Real};
use wgpu_cnn::op::{Add, BroadcastGeometry, Mul, ScaleGeometry, SelectGeometry, Spread};
use wgpu_cnn::{ChannelPermute, ChannelShuffle, Op, PointwiseLinear, Scale, Shape, Slice};

use crate::call::Call;
use crate::cpu::both;
use crate::draw::Draw;

const JOINED: &[&str] = &[
    "Add::geometry",
    "Mul::geometry",
    "BroadcastGeometry::side_len",
    "BroadcastGeometry::output_len",
    "Spread::has_channels",
    "Spread::has_positions",
    "Scale::new",
    "Scale::bias",
    "Scale::init",
    "Scale::geometry",
    "PointwiseLinear::new",
    "PointwiseLinear::bias",
    "PointwiseLinear::init",
    "PointwiseLinear::geometry",
];

const SELECTED: &[&str] = &[
    "Slice::new",
    "Slice::channels",
    "Slice::rows",
    "Slice::columns",
    "Slice::geometry",
    "ChannelShuffle::new",
    "ChannelShuffle::geometry",
    "ChannelPermute::new",
    "ChannelPermute::geometry",
    "SelectGeometry::len_of",
];

/// Any of them that are layers.
pub fn layer(d: &mut Draw) -> Op {
    match d.below(6) {
        0 => Mul.into(),
        1 => scale(d).into(),
        2 => pointwise_linear(d).into(),
        3 => slice(d).into(),
        4 => ChannelShuffle::new(d.number()).into(),
        _ => channel_permute(d).into(),
    }
}

pub fn calls() -> Vec<Call> {
    vec![
        Call::quick(JOINED, |d| {
            let (batch, input) = (d.number(), d.shape());
            match d.below(3) {
                0 => scale(d).geometry(batch, &input).is_ok(),
                1 => pointwise_linear(d).geometry(batch, &input).is_ok(),
                _ => broadcast(d).is_ok(),
            }
        }),
        Call::quick(SELECTED, |d| {
            let (batch, input) = (d.number(), d.shape());
            select(d, batch, &input).is_ok()
        }),
        Call::quick(
            &[
                "cpu::add_forward",
                "cpu::add_backward",
                "cpu::mul_forward",
                "cpu::mul_backward",
            ],
            both!(broadcast_on_cpu),
        ),
        Call::quick(
            &[
                "cpu::scale_forward",
                "cpu::scale_backward_input",
                "cpu::scale_backward_weight",
                "cpu::scale_backward_bias",
            ],
            both!(scale_on_cpu),
        ),
        Call::quick(
            &[
                "cpu::slice_forward",
                "cpu::slice_backward",
                "cpu::channel_shuffle_forward",
                "cpu::channel_shuffle_backward",
                "cpu::channel_permute_forward",
                "cpu::channel_permute_backward",
            ],
            both!(select_on_cpu),
        ),
    ]
}

fn pointwise_linear(d: &mut Draw) -> PointwiseLinear {
    let layer = PointwiseLinear::new(d.number());
    layer.bias(d.flag()).init(d.init())
}

pub fn range(d: &mut Draw) -> std::ops::Range<usize> {
    let [from, len] = d.numbers();
    match d.is_hostile() {
        true => d.number()..d.number(),
        false => from.min(2)..from.min(2).saturating_add(len),
    }
}

pub fn slice(d: &mut Draw) -> Slice {
    let range = range(d);
    match d.below(4) {
        0 => Slice::channels(range),
        1 => Slice::rows(range),
        2 => Slice::columns(range),
        _ => Slice::new(d.number(), range),
    }
}

pub fn channel_permute(d: &mut Draw) -> ChannelPermute {
    let index: Vec<usize> = (0..d.below(5)).map(|_| d.number()).collect();
    ChannelPermute::new(index)
}

fn select(d: &mut Draw, batch: usize, input: &Shape) -> wgpu_cnn::Result<()> {
    let geometry = match d.below(3) {
        0 => slice(d).geometry(batch, input),
        1 => ChannelShuffle::new(d.number()).geometry(batch, input),
        _ => channel_permute(d).geometry(batch, input),
    }?;
    let _ = geometry.len_of(d.number());
    Ok(())
}

pub fn scale(d: &mut Draw) -> Scale {
    Scale::new().bias(d.flag()).init(d.init())
}

/// The shape, or one that goes with it.
pub fn beside(d: &mut Draw, shape: &Shape, first: usize) -> Shape {
    let mut extents = shape.to_vec();
    let axes = match d.below(4) {
        0 => first..first + 1,
        1 => first + 1..extents.len(),
        2 => first..extents.len(),
        _ => 0..0,
    };
    extents.get_mut(axes).unwrap_or_default().fill(1);
    extents.into()
}

/// The extents of a sum or a product.
pub fn broadcast(d: &mut Draw) -> wgpu_cnn::Result<BroadcastGeometry> {
    let (batch, left) = (d.number(), d.image());
    let right = if d.is_hostile() {
        d.shape()
    } else {
        beside(d, &left, 0)
    };
    let mut geometry = match d.below(4) {
        0 => Add.geometry(batch, &left, &right),
        1 => Add.geometry(batch, &right, &left),
        2 => Mul.geometry(batch, &left, &right),
        _ => Mul.geometry(batch, &right, &left),
    }?;
    if d.is_hostile() {
        let sides = [
            Spread::Whole,
            Spread::Channels,
            Spread::Positions,
            Spread::Examples,
        ];
        (geometry.left, geometry.right) = (d.pick(&sides), d.pick(&sides));
        (geometry.batch, geometry.channels, geometry.plane) = (d.number(), d.number(), d.number());
    }
    assert!(geometry.side_len(Spread::Channels) <= geometry.output_len() || geometry.plane == 0);
    assert!(Spread::Whole.has_channels() && Spread::Whole.has_positions());
    Ok(geometry)
}

fn broadcast_on_cpu<T: Real>(d: &mut Draw) -> bool {
    let Ok(g) = broadcast(d) else {
        return false;
    };
    let lens = [g.side_len(g.left), g.side_len(g.right), g.output_len()];
    let [left, right, gy] = lens.map(|len| d.floats::<T>(len));
    let (mut y, mut to) = (gy.clone(), left.clone());
    match d.below(4) {
        0 => cpu::add_forward(&g, &left, &right, &mut y).is_ok(),
        1 => cpu::add_backward(&g, g.left, &gy, &mut to).is_ok(),
        2 => cpu::mul_forward(&g, &left, &right, &mut y).is_ok(),
        _ => cpu::mul_backward(&g, &right, &gy, &mut to).is_ok(),
    }
}

fn scale_on_cpu<T: Real>(d: &mut Draw) -> bool {
    let [batch, channels, plane] = d.numbers();
    let g = ScaleGeometry {
        batch,
        channels,
        plane,
    };
    let len = Draw::elements(&[batch, channels, plane]);
    let (x, mut y) = (d.floats::<T>(len), d.floats(len));
    let (w, mut gw) = (d.floats(channels), d.floats(channels));
    match d.below(4) {
        0 => cpu::scale_forward(&g, &x, &w, d.flag().then_some(&gw), &mut y).is_ok(),
        1 => cpu::scale_backward_input(&g, &w, &x, &mut y).is_ok(),
        2 => cpu::scale_backward_weight(&g, &x, &y, &mut gw).is_ok(),
        _ => cpu::scale_backward_bias(&g, &x, &mut gw).is_ok(),
    }
}

fn select_on_cpu<T: Real>(d: &mut Draw) -> bool {
    let [outer, extent, inner] = d.numbers();
    let g = SelectGeometry {
        outer,
        extent,
        inner,
    };
    let (range, index) = (range(d), channel_permute(d).index);
    let way = d.below(6);
    let after = match way {
        0 | 1 => range.end.saturating_sub(range.start),
        2 | 3 => extent,
        _ => index.len(),
    };
    let x = d.floats::<T>(g.len_of(extent));
    let (mut y, mut gx) = (d.floats(g.len_of(after)), x.clone());
    match way {
        0 => cpu::slice_forward(&g, range, &x, &mut y).is_ok(),
        1 => cpu::slice_backward(&g, range, &y, &mut gx).is_ok(),
        2 => cpu::channel_shuffle_forward(&g, d.number(), &x, &mut y).is_ok(),
        3 => cpu::channel_shuffle_backward(&g, d.number(), &y, &mut gx).is_ok(),
        4 => cpu::channel_permute_forward(&g, &index, &x, &mut y).is_ok(),
        _ => cpu::channel_permute_backward(&g, &index, &y, &mut gx).is_ok(),
    }
}
