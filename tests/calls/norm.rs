//! The reference's normalisations on slices.

use wgpu_cnn::cpu::{self, Real};
use wgpu_cnn::op::{BatchNormGeometry, GroupNormGeometry};

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

pub fn calls() -> Vec<Call> {
    vec![
        Call::quick(
            &["cpu::batch_norm_moments", "cpu::batch_norm_update_running"],
            both!(batch_statistics),
        ),
        Call::quick(
            &[
                "cpu::batch_norm_forward",
                "cpu::batch_norm_backward_parameters",
            ],
            both!(batch_norm),
        ),
        Call::quick(
            &[
                "cpu::batch_norm_backward_input",
                "cpu::batch_norm_backward_input_eval",
            ],
            both!(batch_norm_input),
        ),
        Call::quick(
            &[
                "cpu::layer_norm_forward",
                "cpu::layer_norm_backward_parameters",
                "cpu::layer_norm_backward_input",
            ],
            both!(layer_norm),
        ),
        Call::quick(
            &[
                "cpu::layer_norm_channels_forward",
                "cpu::layer_norm_channels_backward_parameters",
                "cpu::layer_norm_channels_backward_input",
            ],
            both!(layer_norm_channels),
        ),
        Call::quick(
            &[
                "cpu::group_norm_forward",
                "cpu::group_norm_backward_parameters",
                "cpu::group_norm_backward_input",
            ],
            both!(group_norm),
        ),
        Call::quick(
            &[
                "cpu::local_response_norm_forward",
                "cpu::local_response_norm_backward",
            ],
            both!(local_response_norm),
        ),
    ]
}

fn batch_geometry(d: &mut Draw) -> (BatchNormGeometry, usize, usize) {
    let [batch, channels, plane] = d.numbers();
    let geometry = BatchNormGeometry {
        batch,
        channels,
        plane,
    };
    (
        geometry,
        Draw::elements(&[batch, channels, plane]),
        channels,
    )
}

fn batch_statistics<T: Real>(d: &mut Draw) -> bool {
    let (g, len, channels) = batch_geometry(d);
    let x = d.floats::<T>(len);
    let (mut mean, mut variance) = (d.floats(channels), d.floats(channels));
    if d.flag() {
        return cpu::batch_norm_moments(&g, &x, &mut mean, &mut variance).is_ok();
    }
    let (batch_mean, batch_variance) = (d.floats(channels), d.floats(channels));
    let batch = (&batch_mean, &batch_variance);
    let momentum = d.real();
    cpu::batch_norm_update_running(&g, momentum, batch.0, batch.1, &mut mean, &mut variance).is_ok()
}

fn batch_norm<T: Real>(d: &mut Draw) -> bool {
    let ((g, len, channels), epsilon) = (batch_geometry(d), d.real());
    let (x, mut y) = (d.floats::<T>(len), d.floats(len));
    let (mean, variance) = (d.floats(channels), d.floats(channels));
    let (mut gamma, mut beta) = (d.floats(channels), d.floats(channels));
    if d.flag() {
        let parameters = (&gamma, &beta);
        let (gamma, beta) = parameters;
        return cpu::batch_norm_forward(&g, epsilon, &x, &mean, &variance, gamma, beta, &mut y)
            .is_ok();
    }
    let gradients = (&mut gamma, &mut beta);
    let (gamma, beta) = gradients;
    cpu::batch_norm_backward_parameters(&g, epsilon, &x, &mean, &variance, &y, gamma, beta).is_ok()
}

fn batch_norm_input<T: Real>(d: &mut Draw) -> bool {
    let ((g, len, channels), e) = (batch_geometry(d), d.real());
    let (x, gy, mut gx) = (d.floats::<T>(len), d.floats(len), d.floats(len));
    let (mean, variance, gamma) = (d.floats(channels), d.floats(channels), d.floats(channels));
    let (ggamma, gbeta) = (d.floats(channels), d.floats(channels));
    if d.flag() {
        return cpu::batch_norm_backward_input_eval(&g, e, &variance, &gamma, &gy, &mut gx).is_ok();
    }
    cpu::batch_norm_backward_input(
        &g, e, &x, &mean, &variance, &gamma, &ggamma, &gbeta, &gy, &mut gx,
    )
    .is_ok()
}

fn layer_norm<T: Real>(d: &mut Draw) -> bool {
    let ([rows, len], e) = (d.numbers(), d.real());
    let whole = Draw::elements(&[rows, len]);
    let (x, gy, mut y) = (d.floats::<T>(whole), d.floats(whole), d.floats(whole));
    let (mut gamma, mut beta) = (d.floats(len), d.floats(len));
    match d.below(3) {
        0 => cpu::layer_norm_forward(rows, e, &x, &gamma, &beta, &mut y).is_ok(),
        1 => cpu::layer_norm_backward_parameters(rows, e, &x, &gy, &mut gamma, &mut beta).is_ok(),
        _ => cpu::layer_norm_backward_input(rows, e, &x, &gamma, &gy, &mut y).is_ok(),
    }
}

fn layer_norm_channels<T: Real>(d: &mut Draw) -> bool {
    use cpu::layer_norm_channels_backward_input as backward_input;
    use cpu::layer_norm_channels_backward_parameters as backward_parameters;
    let (g, e) = (d.numbers::<3>(), d.real());
    let whole = Draw::elements(&g);
    let (x, gy, mut y) = (d.floats::<T>(whole), d.floats(whole), d.floats(whole));
    let (mut gamma, mut beta) = (d.floats(g[1]), d.floats(g[1]));
    match d.below(3) {
        0 => cpu::layer_norm_channels_forward(g, e, &x, &gamma, &beta, &mut y).is_ok(),
        1 => backward_parameters(g, e, &x, &gy, &mut gamma, &mut beta).is_ok(),
        _ => backward_input(g, e, &x, &gamma, &gy, &mut y).is_ok(),
    }
}

fn group_norm<T: Real>(d: &mut Draw) -> bool {
    let ([batch, groups, per_group, plane], e) = (d.numbers(), d.real());
    let channels = match d.is_hostile() {
        true => d.number(),
        false => groups.saturating_mul(per_group),
    };
    let g = GroupNormGeometry {
        batch,
        channels,
        groups,
        plane,
    };
    let whole = Draw::elements(&[batch, channels, plane]);
    let (x, gy, mut y) = (d.floats::<T>(whole), d.floats(whole), d.floats(whole));
    let (mut gamma, mut beta) = (d.floats(channels), d.floats(channels));
    match d.below(3) {
        0 => cpu::group_norm_forward(&g, e, &x, &gamma, &beta, &mut y).is_ok(),
        1 => cpu::group_norm_backward_parameters(&g, e, &x, &gy, &mut gamma, &mut beta).is_ok(),
        _ => cpu::group_norm_backward_input(&g, e, &x, &gamma, &gy, &mut y).is_ok(),
    }
}

fn local_response_norm<T: Real>(d: &mut Draw) -> bool {
    let (layer, g) = (op::local_response_norm(d), d.numbers::<3>());
    let whole = Draw::elements(&g);
    let (x, gy, mut y) = (d.floats::<T>(whole), d.floats(whole), d.floats(whole));
    match d.flag() {
        true => cpu::local_response_norm_forward(g, &layer, &x, &mut y).is_ok(),
        false => cpu::local_response_norm_backward(g, &layer, &x, &gy, &mut y).is_ok(),
    }
}
