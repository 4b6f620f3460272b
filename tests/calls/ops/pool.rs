//! Pooling, and planes made larger or smaller, of tensors of a device.

use super::*;

/// The shape that a pooling makes of one.
fn pooled(
    input: &Shape,
    extents: Result<wgpu_cnn::op::Pool2dGeometry, Error>,
) -> Result<Shape, Error> {
    Ok(sized(input, extents?.out_size))
}

/// As many images and channels as a shape has, of another size.
fn sized(input: &Shape, size: Size2) -> Shape {
    let [batch, channels] = [0, 1].map(|axis| input.get(axis).copied().unwrap_or(1));
    [batch, channels, size.height, size.width].into()
}

/// The batch and the example of a shape.
fn parts(input: &Shape) -> (usize, Shape) {
    let batch = input.first().copied().unwrap_or(0);
    (batch, Shape::from(input.get(1..).unwrap_or_default()))
}

pub fn max_pool2d_forward(d: &mut Draw) -> Done {
    let (layer, input) = (op::max_pool2d(d), images(d));
    ops::max_pool2d_forward(&tensor(d, input)?, &layer).map(drop)
}

pub fn max_pool2d_backward(d: &mut Draw) -> Done {
    let (layer, input) = (op::max_pool2d(d), images(d));
    let (batch, example) = parts(&input);
    let output = pooled(&input, layer.geometry(batch, &example))?;
    let (gy, argmax) = (tensor(d, &output)?, tensor_of::<u32>(d, output)?);
    ops::max_pool2d_backward(&gy, &argmax, input, &layer).map(drop)
}

pub fn avg_pool2d_forward(d: &mut Draw) -> Done {
    let (layer, input) = (op::avg_pool2d(d), images(d));
    ops::avg_pool2d_forward(&tensor(d, input)?, &layer).map(drop)
}

pub fn avg_pool2d_backward(d: &mut Draw) -> Done {
    let (layer, input) = (op::avg_pool2d(d), images(d));
    let (batch, example) = parts(&input);
    let output = pooled(&input, layer.geometry(batch, &example))?;
    ops::avg_pool2d_backward(&tensor(d, output)?, input, &layer).map(drop)
}

pub fn softmax_pool_forward(d: &mut Draw) -> Done {
    let input = images(d);
    ops::softmax_pool_forward(&tensor(d, input)?).map(drop)
}

pub fn softmax_pool_backward(d: &mut Draw) -> Done {
    let x = images(d);
    let x = tensor(d, x)?;
    let [batch, channels] = [0, 1].map(|axis| x.shape().get(axis).copied().unwrap_or(1));
    let (y, gy) = (
        tensor(d, [batch, channels, 1, 1])?,
        tensor(d, [batch, channels, 1, 1])?,
    );
    let kept = tensor(d, [batch * channels, 2])?;
    ops::softmax_pool_backward(&x, (&y, &kept), &gy).map(drop)
}

pub fn upsample2d_forward(d: &mut Draw) -> Done {
    let (layer, input) = (resize::upsample2d(d), images(d));
    ops::upsample2d_forward(&tensor(d, input)?, &layer).map(drop)
}

pub fn upsample2d_backward(d: &mut Draw) -> Done {
    let (layer, input) = (resize::upsample2d(d), images(d));
    let (batch, example) = parts(&input);
    let geometry = layer.geometry(batch, &example)?;
    let output = sized(&input, geometry.out_size);
    ops::upsample2d_backward(&tensor(d, output)?, input, &layer).map(drop)
}

pub fn pixel_shuffle(d: &mut Draw) -> Done {
    let input = images(d);
    ops::pixel_shuffle(&tensor(d, input)?, d.number()).map(drop)
}

pub fn pixel_unshuffle(d: &mut Draw) -> Done {
    let input = images(d);
    ops::pixel_unshuffle(&tensor(d, input)?, d.number()).map(drop)
}

pub fn adaptive_avg_pool2d_forward(d: &mut Draw) -> Done {
    let (layer, input) = (AdaptiveAvgPool2d::new(d.size()), images(d));
    ops::adaptive_avg_pool2d_forward(&tensor(d, input)?, &layer).map(drop)
}

pub fn adaptive_avg_pool2d_backward(d: &mut Draw) -> Done {
    let (layer, input) = (AdaptiveAvgPool2d::new(d.size()), images(d));
    let output = sized(&input, layer.size);
    ops::adaptive_avg_pool2d_backward(&tensor(d, output)?, input, &layer).map(drop)
}

pub fn adaptive_max_pool2d_forward(d: &mut Draw) -> Done {
    let (layer, input) = (AdaptiveMaxPool2d::new(d.size()), images(d));
    ops::adaptive_max_pool2d_forward(&tensor(d, input)?, &layer).map(drop)
}

pub fn adaptive_max_pool2d_backward(d: &mut Draw) -> Done {
    let (layer, input) = (AdaptiveMaxPool2d::new(d.size()), images(d));
    let output = sized(&input, layer.size);
    let (gy, argmax) = (tensor(d, &output)?, tensor_of::<u32>(d, output)?);
    ops::adaptive_max_pool2d_backward(&gy, &argmax, input, &layer).map(drop)
}
