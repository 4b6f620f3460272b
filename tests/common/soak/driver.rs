//! Where functions of the driver have a part: `exp` and its kind differ from one to the next.

use wgpu_cnn::Loss;

use super::draw::Drawn;
use super::layer::Network;

/// Operators without a function of the driver; of others it is taken for granted.
const PLAIN: &[&str] = &[
    "conv2d",
    "conv_transpose2d",
    "linear",
    "max_pool2d",
    "avg_pool2d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "global_max_pool",
    "global_avg_pool",
    "upsample2d",
    "pixel_shuffle",
    "pixel_unshuffle",
    "relu",
    "leaky_relu",
    "relu6",
    "hard_tanh",
    "hard_sigmoid",
    "hard_swish",
    "softsign",
    "prelu",
    "pad2d",
    "dropout",
    "dropout2d",
    "stochastic_depth",
    "flatten",
    "reshape",
    "add",
    "mul",
    "scale",
    "pointwise_linear",
    "slice",
    "channel_shuffle",
    "channel_permute",
    "concat",
    "batch_norm",
    "layer_norm",
    "layer_norm_channels",
    "group_norm",
    "instance_norm",
];

/// Whether functions of the driver have a part in a model or its loss.
pub fn has_driver(drawn: &Drawn) -> bool {
    let operators = drawn.network.operators();
    matches!(drawn.network, Network::Case { .. })
        || !matches!(
            drawn.loss,
            Loss::MeanSquaredError(_) | Loss::L1(_) | Loss::NegativeLogLikelihood(_)
        )
        || !operators.iter().all(|name| PLAIN.contains(name))
}
