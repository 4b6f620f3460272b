//! RegNet: stages whose widths follow from a line.

use super::Options;
use super::blocks::{Unit, classifier, conv, divisible, squeeze_excitation};
use crate::op::{Activation, Add};
use crate::{GraphBuilder, Result, Value};

/// The width of the first block, how much wider each next one is, and what stages differ by: their widths are the
/// first one times a power of it, rounded to multiples of 8.
type Widths = (usize, f64, f64);

/// RegNetX: `depth` blocks of these widths, with 3x3 convolutions over groups of `group` channels.
pub(super) fn x(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
    depth: usize,
    widths: Widths,
    group: usize,
) -> Result<Vec<Value>> {
    let network = RegNet {
        depth,
        widths,
        group,
        squeeze: false,
    };
    network.classifier(net, x, options)
}

/// RegNetY: the same with squeeze and excitation.
pub(super) fn y(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
    depth: usize,
    widths: Widths,
    group: usize,
) -> Result<Vec<Value>> {
    let network = RegNet {
        depth,
        widths,
        group,
        squeeze: true,
    };
    network.classifier(net, x, options)
}

/// What the networks of the family differ in.
#[derive(Debug, Clone, Copy)]
struct RegNet {
    /// Blocks of all stages.
    depth: usize,
    widths: Widths,
    /// Channels in a group.
    group: usize,
    /// Whether blocks have squeeze and excitation.
    squeeze: bool,
}

impl RegNet {
    /// The width of each stage and its number of blocks: those of equal width are a stage.
    fn stages(&self) -> Vec<(usize, usize)> {
        let (initial, slope, step) = self.widths;
        let initial = initial as f64;
        let mut stages: Vec<(usize, usize)> = Vec::new();
        for block in 0..self.depth {
            let wanted = initial + slope * block as f64;
            let power = ((wanted / initial).ln() / step.ln()).round_ties_even();
            let width = (initial * step.powf(power) / 8.0).round_ties_even() as usize * 8;
            match stages.last_mut() {
                Some((last, blocks)) if *last == width => *blocks += 1,
                _ => stages.push((width, 1)),
            }
        }
        let whole = |width: usize| divisible(width as f64, self.group.min(width));
        let stages = stages.into_iter();
        stages
            .map(|(width, blocks)| (whole(width), blocks))
            .collect()
    }

    fn classifier(
        &self,
        net: &mut GraphBuilder,
        x: Value,
        options: &Options,
    ) -> Result<Vec<Value>> {
        let unit = Unit::new(Activation::Relu);
        let mut y = unit.add(net, "stem", conv(32, 3).stride(2), x)?;
        for (stage, (width, blocks)) in (1..).zip(self.stages()) {
            for block in 0..blocks {
                let name = format!("trunk_output.block{stage}.block{stage}-{block}");
                let stride = if block == 0 { 2 } else { 1 };
                y = net.scope(&name, |net| self.block(net, y, width, stride))?;
            }
        }
        Ok(vec![classifier(net, "fc", None, options.classes, y)?])
    }

    fn block(
        &self,
        net: &mut GraphBuilder,
        x: Value,
        width: usize,
        stride: usize,
    ) -> Result<Value> {
        let (unit, channels) = (Unit::new(Activation::Relu), net.shape(x)?[0]);
        let shortcut = match channels != width || stride != 1 {
            true => unit
                .linear()
                .add(net, "proj", conv(width, 1).stride(stride), x)?,
            false => x,
        };
        let groups = width / self.group.min(width);
        let y = unit.add(net, "f.a", conv(width, 1), x)?;
        let middle = conv(width, 3).stride(stride).groups(groups);
        let mut y = unit.add(net, "f.b", middle, y)?;
        if self.squeeze {
            let squeezed = (channels as f64 / 4.0).round_ties_even() as usize;
            let activations = [Activation::Relu, Activation::Sigmoid];
            y = squeeze_excitation(net, "f.se", squeezed, activations, y)?;
        }
        let y = unit.linear().add(net, "f.c", conv(width, 1), y)?;
        let y = net.apply(Add, [shortcut, y])?;
        net.apply(Activation::Relu, [y])
    }
}
