//! One-dimensional layers: the two-dimensional ones on signals `(N, C, L)`, images of height 1.

use super::{AvgPool2d, Conv2d, MaxPool2d, Op, PaddingMode};
use crate::Padding;

macro_rules! signal_layer {
    ($(#[$meta:meta])* $name:ident wraps $inner:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name($inner);

        impl $name {
            /// Sets the step between positions.
            pub fn stride(self, stride: usize) -> Self {
                Self(self.0.stride([1, stride]))
            }

            /// Sets the padding on both sides.
            pub fn padding(self, padding: usize) -> Self {
                self.padding_sides([padding, padding])
            }

            /// Sets the padding before and after the signal.
            pub fn padding_sides(self, [before, after]: [usize; 2]) -> Self {
                Self(self.0.padding([0, 0, before, after]))
            }
        }

        impl From<$name> for Op {
            fn from(layer: $name) -> Self {
                layer.0.into()
            }
        }
    };
}

signal_layer! {
    /// A convolution over signals `(N, C, L)` with weights `(O, C/groups, K)`. See [`Conv2d`].
    ///
    /// ```
    /// use wgpu_cnn::{Conv1d, Model};
    /// let model = Model::builder([2, 32]).push(Conv1d::new(6, 5).stride(2).padding(2)).build()?;
    /// assert_eq!(model.output_shape().to_string(), "[6, 16]");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    Conv1d wraps Conv2d
}

signal_layer! {
    /// Max-pooling over signals `(N, C, L)`. See [`MaxPool2d`].
    MaxPool1d wraps MaxPool2d
}

signal_layer! {
    /// Mean pooling over signals `(N, C, L)`. See [`AvgPool2d`].
    AvgPool1d wraps AvgPool2d
}

impl Conv1d {
    /// A convolution with `out_channels` filters of `kernel` taps.
    pub fn new(out_channels: usize, kernel: usize) -> Self {
        Self(Conv2d::new(out_channels, [1, kernel]))
    }

    /// Pads so that at stride 1 the output is as long as the input. See [`Padding::Same`].
    pub fn padding_same(self) -> Self {
        Self(self.0.padding(Padding::Same))
    }

    /// Pads before the signal alone, by `dilation * (kernel - 1)`: at stride 1 the output is as long as the
    /// input, and depends on nothing after it. See [`Padding::Causal`].
    ///
    /// ```
    /// use wgpu_cnn::{Conv1d, Model};
    /// let model = Model::builder([2, 32]).push(Conv1d::new(6, 2).causal().dilation(4)).build()?;
    /// assert_eq!(model.output_shape().to_string(), "[6, 32]");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn causal(self) -> Self {
        Self(self.0.padding(Padding::Causal))
    }

    /// Sets what lies around the signal. Default [`PaddingMode::Zeros`].
    pub fn padding_mode(self, mode: PaddingMode) -> Self {
        Self(self.0.padding_mode(mode))
    }

    /// Sets the distance between filter taps.
    pub fn dilation(self, dilation: usize) -> Self {
        Self(self.0.dilation([1, dilation]))
    }

    /// Sets the number of channel groups.
    pub fn groups(self, groups: usize) -> Self {
        Self(self.0.groups(groups))
    }

    /// Leaves the bias out or puts it in.
    pub fn bias(self, bias: bool) -> Self {
        Self(self.0.bias(bias))
    }

    /// Sets how the weights start.
    pub fn init(self, init: super::Init) -> Self {
        Self(self.0.init(init))
    }
}

impl MaxPool1d {
    /// Windows of `kernel` positions that touch without overlapping.
    pub fn new(kernel: usize) -> Self {
        Self(MaxPool2d::new([1, kernel]))
    }

    /// Sets the distance between the window's positions.
    pub fn dilation(self, dilation: usize) -> Self {
        Self(self.0.dilation([1, dilation]))
    }

    /// Sets whether a last window that does not fit whole counts too.
    pub fn ceil_mode(self, ceil: bool) -> Self {
        Self(self.0.ceil_mode(ceil))
    }
}

impl AvgPool1d {
    /// Windows of `kernel` positions that touch without overlapping.
    pub fn new(kernel: usize) -> Self {
        Self(AvgPool2d::new([1, kernel]))
    }

    /// Sets whether a last window that does not fit whole counts too.
    pub fn ceil_mode(self, ceil: bool) -> Self {
        Self(self.0.ceil_mode(ceil))
    }

    /// Sets whether the padding counts as values.
    pub fn count_include_pad(self, count: bool) -> Self {
        Self(self.0.count_include_pad(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{ConvTranspose2d, Size2};
    use crate::{Model, Result};

    fn build(layer: impl Into<Op>) -> Result<Model> {
        Model::builder([2, 16]).relu().push(layer).build()
    }

    #[test]
    fn a_layer_that_is_one_row_high_is_that_of_signals() {
        let pairs: [(Op, Op); 5] = [
            (
                Conv2d::new(4, [1, 3]).padding([0, 1]).into(),
                Conv1d::new(4, 3).padding(1).into(),
            ),
            (
                Conv2d::new(4, [1, 4]).padding(Padding::Same).into(),
                Conv1d::new(4, 4).padding_same().into(),
            ),
            (
                Conv2d::new(4, [1, 4])
                    .padding(Padding::Causal)
                    .dilation([1, 2])
                    .into(),
                Conv1d::new(4, 4).causal().dilation(2).into(),
            ),
            (MaxPool2d::new([1, 2]).into(), MaxPool1d::new(2).into()),
            (
                AvgPool2d::new([1, 3]).padding([0, 0, 1, 0]).into(),
                AvgPool1d::new(3).padding_sides([1, 0]).into(),
            ),
        ];
        for (two, one) in pairs {
            assert_eq!(build(two).unwrap(), build(one).unwrap());
        }
        // Where there is one position, nothing depends on the step to the next or between its taps.
        let strided = Conv2d::new(4, [1, 3]).stride(2).dilation(2);
        let model = build(strided).unwrap();
        assert_eq!(model.output_shape().to_string(), "[4, 6]");
        let transpose = ConvTranspose2d::new(3, [1, 4]).stride(2).padding([0, 1]);
        let model = build(transpose.clone()).unwrap();
        assert_eq!(model.output_shape().to_string(), "[3, 32]");
        assert_eq!(
            model.parameters().next().unwrap().1.to_string(),
            "[2, 3, 4]"
        );
        let taller = transpose.output_padding([1, 0]);
        let said = build(taller).unwrap_err().to_string();
        assert!(said.contains("layer 1 (conv_transpose2d): expected an output one row high"));
    }

    #[test]
    fn a_layer_that_reaches_beyond_the_row_of_a_signal_is_refused_by_name() {
        let three = Size2::from(3);
        let layers: [Op; 11] = [
            Conv2d::new(4, 3).padding(1).into(),
            Conv2d::new(4, 3).padding(Padding::Same).into(),
            Conv2d::new(4, three).into(),
            Conv2d::new(4, [1, 3]).padding(1).into(),
            Conv2d::new(4, [3, 1]).padding([2, 0]).into(),
            Conv2d::new(4, [1, 3]).padding([0, 1, 0, 0]).into(),
            ConvTranspose2d::new(4, 3).into(),
            ConvTranspose2d::new(4, 3).padding(1).into(),
            MaxPool2d::new(3).padding(1).stride(1).into(),
            MaxPool2d::new(2).ceil_mode(true).into(),
            AvgPool2d::new([2, 1]).padding([1, 0]).into(),
        ];
        for layer in layers {
            let said = build(layer.clone()).unwrap_err().to_string();
            let expected = format!("layer 1 ({}): expected a window one row high", layer.name());
            assert!(said.starts_with(&expected), "{layer:?}: {said}");
        }
    }
}
