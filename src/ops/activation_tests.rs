//! Every activation through every kind of epilogue: one that is missing in the shaders, and therefore the
//! identity there, is found here.

use super::Call;
use crate::cpu;
use crate::gpu::kernels::concat::{Block, copy};
use crate::gpu::kernels::matmul::{Factor, matmul};
use crate::gpu::kernels::{Output, activation, broadcast};
use crate::gpu::record::{Recording, Region};
use crate::{Activation, Gpu, Result, Tensor};

/// What a kernel reads to write so many elements of `x` through its epilogue.
#[derive(Clone, Copy)]
struct Inputs {
    len: usize,
    x: Region,
    zeros: Region,
    ones: Region,
}

type Way = fn(&mut Recording, Inputs, Output);

/// By vectors, and by elements.
const WAYS: [(&str, Way); 3] = [
    ("activation_forward", |recording, from, output| {
        activation::forward(recording, from.len, from.x, output);
    }),
    ("concat", |recording, Inputs { len, x, .. }, output| {
        let whole = Block {
            stride: len,
            offset: 0,
        };
        copy(recording, [1, len], (x, whole), (output, whole));
    }),
    (
        "broadcast_join",
        |recording, Inputs { len, x, zeros, .. }, output| {
            broadcast::add(recording, len, [x, zeros], output);
        },
    ),
];

/// A product's takes long to compile, so that one function must do.
const PRODUCT: (&str, Way) = (
    "matmul",
    |recording, Inputs { len, x, ones, .. }, output| {
        let factors = [ones, x].map(Factor::plain);
        matmul(recording, [1, len, 1], factors, None, output);
    },
);

/// From one end to the other, with what is at the ends, next to zero and no number.
fn arguments() -> Vec<f32> {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let mut x = vec![0.0, -0.0, inf, -inf, nan, -nan, 1e-30, -1e-30];
    x.extend([1e-6, -1e-6, 90.0, -90.0, 1e5, -1e5]);
    x.extend((-51..51i8).map(|at| f32::from(at) * 0.21));
    x
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

fn same(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan()
}

/// A result on the device, what it should be, and what it is where the function is missing.
struct Check {
    name: String,
    got: Tensor,
    expected: Vec<f64>,
    identity: Option<Vec<f64>>,
}

impl Check {
    /// The error that passes, in units of the last place of 1 and of the value: exp may be off by 3 of
    /// them and more, and the formulas cancel.
    const UNITS: f64 = 32.0;

    fn run(self) {
        let (name, expected) = (self.name, self.expected);
        if let Some(identity) = self.identity {
            let pairs = expected.iter().zip(&identity);
            let told = pairs.filter(|&(&a, &b)| !same(a, b)).count();
            assert!(
                4 * told > expected.len(),
                "{name}: too close to the identity to tell"
            );
        }
        let x = arguments();
        for (at, got) in self.got.to_vec().unwrap().into_iter().enumerate() {
            let (got, expected) = (f64::from(got), expected[at]);
            let tolerance = Self::UNITS * f64::from(f32::EPSILON) * (1.0 + expected.abs());
            let close = (got - expected).abs() <= tolerance || same(got, expected);
            assert!(close, "{name} at {:e}: {got:e}, not {expected:e}", x[at]);
        }
    }
}

/// What is recorded, and what will be checked.
struct Rig {
    call: Call,
    x: [Tensor; 3],
    gy: Tensor,
    checks: Vec<Check>,
}

impl Rig {
    fn new(gpu: &Gpu) -> Self {
        let x = arguments();
        let len = x.len();
        let of = |values: &[f32]| Tensor::from_slice(gpu, [len], values).unwrap();
        // The sum with -0 keeps the sign of 0.
        let inputs = [of(&x), of(&vec![-0.0; len]), of(&vec![1.0; len])];
        let gy: Vec<f32> = (0..len).map(|at| 0.5 + (at % 7) as f32 / 4.0).collect();
        Self {
            call: Call::new("activation", gpu),
            x: inputs,
            gy: of(&gy),
            checks: Vec::new(),
        }
    }

    fn output(&self) -> Tensor {
        self.call.output(self.gy.shape()).unwrap()
    }

    /// The kernel's inputs with `x` among them.
    fn inputs(&self, x: &Tensor) -> Inputs {
        Inputs {
            len: x.shape().len(),
            x: self.call.region(x),
            zeros: self.call.region(&self.x[1]),
            ones: self.call.region(&self.x[2]),
        }
    }

    fn check(&mut self, name: String, got: Tensor, expected: &[f64], identity: Option<&Tensor>) {
        self.checks.push(Check {
            name,
            got,
            expected: expected.to_vec(),
            identity: identity.map(|tensor| wide(&tensor.to_vec().unwrap())),
        });
    }

    /// A function's value through a way to memory, and again with its argument beside it, and then the
    /// gradient from what was saved.
    fn record(
        &mut self,
        function: Activation,
        (name, way): (&str, Way),
        gradient: bool,
    ) -> Result<()> {
        let (x, gy) = (self.x[0].clone(), self.gy.clone());
        let (x64, gy64) = (wide(&x.to_vec()?), wide(&gy.to_vec()?));
        let (mut y, mut gx) = (vec![0.0; x64.len()], vec![0.0; x64.len()]);
        cpu::activation_forward(function, &x64, &mut y)?;
        cpu::activation_backward(function, &x64, &y, &gy64, &mut gx)?;
        let [value, beside, argument, gradient_input] = [(); 4].map(|()| self.output());
        let from = self.inputs(&x);
        let to = |tensor: &Tensor| Output::from(self.call.region(tensor));
        let apply = |output: Output| Output {
            activation: Some(function),
            ..output
        };
        let outputs = [
            apply(to(&value)),
            Output {
                argument: Some(to(&argument).region),
                ..apply(to(&beside))
            },
        ];
        for output in outputs {
            way(&mut self.call.recording(), from, output);
        }
        let of = |what: &str| format!("the {what} of {} through {name}", function.name());
        if gradient {
            let saved = if function.gradient_from_value() {
                &beside
            } else {
                &argument
            };
            let output = Output {
                gradient_of: Some((function, to(saved).region)),
                ..to(&gradient_input)
            };
            let from = self.inputs(&gy);
            way(&mut self.call.recording(), from, output);
            self.check(of("gradient"), gradient_input, &gx, Some(&gy));
        }
        self.check(of("value"), value, &y, Some(&x));
        self.check(of("value beside its argument"), beside, &y, Some(&x));
        self.check(of("argument"), argument, &x64, None);
        Ok(())
    }
}

#[test]
fn every_activation_is_itself_through_every_kind_of_epilogue() {
    let Some(gpu) = crate::device::device(Gpu::builder().poison(true)) else {
        return;
    };
    let mut rig = Rig::new(&gpu);
    for function in Activation::ALL {
        for way in WAYS {
            rig.record(function, way, true).unwrap();
        }
    }
    rig.record(Activation::Gelu, PRODUCT, true).unwrap();
    pollster::block_on(rig.call.run()).unwrap();
    rig.checks.into_iter().for_each(Check::run);
}
