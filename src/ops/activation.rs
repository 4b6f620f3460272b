//! Element-wise functions, sums and joins.

use super::{Call, expect, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::concat::{Block, copy};
use crate::gpu::kernels::{Output, activation};
use crate::op::Activation;
use crate::{Error, Result, Shape};

/// An element-wise function of `x`.
pub fn activation_forward(x: &Tensor, function: Activation) -> Result<Tensor> {
    let call = Call::new(x.gpu());
    let output = call.output(x.shape())?;
    let to = Output {
        activation: Some(function),
        ..call.region(&output).into()
    };
    let from = call.region(x);
    activation::forward(&mut call.recording(), x.shape().len(), from, to);
    call.run()?;
    Ok(output)
}

/// The gradient of an element-wise function with respect to its argument `x`, from the argument, its
/// value `y` and the gradient with respect to that.
pub fn activation_backward(
    function: Activation,
    x: &Tensor,
    y: &Tensor,
    gradient_output: &Tensor,
) -> Result<Tensor> {
    expect("y", y, x.shape())?;
    expect("output gradient", gradient_output, x.shape())?;
    let call = Call::new(x.gpu());
    let output = call.output(x.shape())?;
    let source = if function.gradient_from_value() { y } else { x };
    let inputs = [call.region(source), call.region(gradient_output)];
    let to = call.region(&output).into();
    activation::backward(&mut call.recording(), function, x.shape().len(), inputs, to);
    call.run()?;
    Ok(output)
}

/// The sum of two tensors of one shape.
pub fn add(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    expect("right", right, left.shape())?;
    let call = Call::new(left.gpu());
    let output = call.output(left.shape())?;
    let (inputs, to) = (
        [call.region(left), call.region(right)],
        call.region(&output),
    );
    activation::add(&mut call.recording(), left.shape().len(), inputs, to.into());
    call.run()?;
    Ok(output)
}

/// Tensors `(N, C, ...)` one after the other along their channels.
pub fn concat(tensors: &[&Tensor]) -> Result<Tensor> {
    let Some(first) = tensors.first() else {
        return Err(Error::argument("concat", "needs a tensor"));
    };
    let (batch, _) = split_batch("concat", first.shape())?;
    let mut extents = first.shape().to_vec();
    if extents.len() < 2 {
        return Err(Error::shape("concat", "tensors (N, C, ...)", first.shape()));
    }
    extents[1] = 0;
    for tensor in tensors {
        let shape = tensor.shape();
        if shape.rank() != extents.len() || shape[0] != batch || shape[2..] != extents[2..] {
            let expected = format!("a tensor like {} but for its channels", first.shape());
            return Err(Error::shape("concat", expected, shape));
        }
        extents[1] += shape[1];
    }
    let shape = Shape::from(extents);
    let whole = shape.len() / batch;
    let call = Call::new(first.gpu());
    let output = call.output(shape)?;
    let (to, mut offset) = (call.region(&output), 0);
    for tensor in tensors {
        let stride = tensor.shape().len() / batch;
        let from = (call.region(tensor), Block { stride, offset: 0 });
        let block = Block {
            stride: whole,
            offset,
        };
        copy(
            &mut call.recording(),
            [batch, stride],
            from,
            (to.into(), block),
        );
        offset += stride;
    }
    call.run()?;
    Ok(output)
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use super::*;
    use crate::Gpu;
    use crate::cpu;
    use crate::gpu::kernels::matmul::{Factor, matmul};
    use crate::gpu::record::{Recording, Region};

    /// The poisoned devices with and without the cores for subgroups.
    fn gpus() -> Vec<Gpu> {
        let required = std::env::var("WGPU_CNN_REQUIRE_GPU").is_ok_and(|value| value == "1");
        let built = [true, false].map(|subgroups| {
            let builder = Gpu::builder().poison(true).allow_subgroups(subgroups);
            builder.build()
        });
        let accept = |gpu: Result<Gpu>| match gpu {
            Ok(gpu) => Some(gpu),
            Err(error) if required => panic!("WGPU_CNN_REQUIRE_GPU=1, but {error}"),
            Err(error) => {
                eprintln!("skipped: {error}");
                None
            }
        };
        built.into_iter().filter_map(accept).collect()
    }

    /// A kernel that copies a tensor of so many elements through its epilogue, given zeros and ones.
    type Way = fn(&mut Recording, usize, [Region; 3], Output);

    /// The kernels' ways to memory: whole vectors, a function and nothing else, and what products do.
    const WAYS: [(&str, Way); 4] = [
        ("activation", |recording, len, [x, _, _], output| {
            activation::forward(recording, len, x, output);
        }),
        ("add", |recording, len, [x, zeros, _], output| {
            activation::add(recording, len, [x, zeros], output);
        }),
        (
            "matmul, a column",
            |recording, len, [x, _, ones], output| {
                let factors = [x, ones].map(Factor::plain);
                matmul(recording, [len, 1, 1], factors, None, output);
            },
        ),
        ("matmul, a row", |recording, len, [x, _, ones], output| {
            let factors = [ones, x].map(Factor::plain);
            matmul(recording, [1, len, 1], factors, None, output);
        }),
    ];

    /// From one end to the other, with what is at the ends, next to zero and no number.
    fn arguments() -> Vec<f32> {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let mut x = vec![0.0, -0.0, inf, -inf, nan, -nan, 1e-30, -1e-30];
        x.extend([1e-6, -1e-6, 90.0, -90.0, 1e5, -1e5]);
        x.extend((0..102).map(|at| (at as f32 - 51.0) * 0.21));
        x
    }

    /// A result on the device, what it should be, and what it must not be.
    struct Check {
        name: String,
        got: Tensor,
        expected: Vec<f64>,
        /// What is there where the function is missing.
        identity: Vec<f64>,
        /// In units of the last place of 1 and of what is expected.
        tolerance: f64,
    }

    impl Check {
        fn run(self) {
            let same = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan();
            let pairs = || self.expected.iter().zip(&self.identity);
            let told = pairs().filter(|&(&a, &b)| !same(a, b)).count();
            assert!(
                self.tolerance == 0.0 || 4 * told > self.expected.len(),
                "{}",
                self.name
            );
            let unit = self.tolerance * f64::from(f32::EPSILON);
            for (at, (got, &expected)) in self
                .got
                .to_vec()
                .unwrap()
                .into_iter()
                .zip(&self.expected)
                .enumerate()
            {
                let got = f64::from(got);
                let close = (got - expected).abs() <= unit * (1.0 + expected.abs());
                let x = arguments()[at];
                assert!(
                    close || same(got, expected),
                    "{} at {x:e}: {got:e}, not {expected:e}",
                    self.name
                );
            }
        }
    }

    /// Values, arguments kept on the way, and gradients from either, of every function through every
    /// way: one that is the identity in the shaders is found here.
    #[test]
    fn every_function_is_itself_through_every_epilogue() {
        let x = arguments();
        let len = x.len();
        let gy: Vec<f32> = (0..len).map(|at| 0.5 + (at % 7) as f32 / 4.0).collect();
        let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|&v| v.into()).collect() };
        let (x64, gy64) = (wide(&x), wide(&gy));
        for gpu in gpus() {
            let call = Call::new(&gpu);
            let of = |values: &[f32]| Tensor::from_slice(&gpu, [len], values).unwrap();
            let inputs = [of(&x), of(&vec![-0.0; len]), of(&vec![1.0; len])];
            let upstream = of(&gy);
            let mut checks = Vec::new();
            for function in Activation::ALL {
                let mut y = vec![0.0; len];
                cpu::activation_forward(function, &x64, &mut y).unwrap();
                let mut gx = vec![0.0; len];
                cpu::activation_backward(function, &x64, &y, &gy64, &mut gx).unwrap();
                let mut check =
                    |name: &str, what: &str, got, [expected, identity]: [&[f64]; 2], tolerance| {
                        checks.push(Check {
                            name: format!("{} of {} through {name}", what, function.name()),
                            got,
                            expected: expected.to_vec(),
                            identity: identity.to_vec(),
                            tolerance,
                        });
                    };
                for (name, way) in WAYS {
                    let [value, kept, argument, gradient] =
                        [(); 4].map(|()| call.output([len]).unwrap());
                    let regions = inputs.each_ref().map(|tensor| call.region(tensor));
                    let activation = Some(function);
                    let to = Output {
                        activation,
                        ..call.region(&value).into()
                    };
                    way(&mut call.recording(), len, regions, to);
                    let argument_to = Some(call.region(&argument));
                    let to = Output {
                        activation,
                        argument: argument_to,
                        ..call.region(&kept).into()
                    };
                    way(&mut call.recording(), len, regions, to);
                    if name != "add" {
                        let from_value = function.gradient_from_value();
                        let saved = call.region(if from_value { &kept } else { &argument });
                        let gradient_of = Some((function, saved));
                        let to = Output {
                            gradient_of,
                            ..call.region(&gradient).into()
                        };
                        let from = [call.region(&upstream), regions[1], regions[2]];
                        way(&mut call.recording(), len, from, to);
                        check(name, "the gradient", gradient, [&gx, &gy64], 32.0);
                    }
                    check(name, "the value", value, [&y, &x64], 16.0);
                    check(
                        name,
                        "the value beside its argument",
                        kept,
                        [&y, &x64],
                        16.0,
                    );
                    check(name, "the argument", argument, [&x64, &x64], 0.0);
                }
                let (source, gradient): (_, Tensor) = (
                    of(&y.iter().map(|&y| y as f32).collect::<Vec<_>>()),
                    call.output([len]).unwrap(),
                );
                let source = call.region(if function.gradient_from_value() {
                    &source
                } else {
                    &inputs[0]
                });
                let (from, to) = (
                    [source, call.region(&upstream)],
                    call.region(&gradient).into(),
                );
                activation::backward(&mut call.recording(), function, len, from, to);
                check("its kernel", "the gradient", gradient, [&gx, &gy64], 32.0);
            }
            call.run().unwrap();
            checks.into_iter().for_each(Check::run);
        }
    }
}
