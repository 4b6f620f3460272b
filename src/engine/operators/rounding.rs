//! What a kernel's result may be off by, as an operator states it.

/// Where a result has no rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Exact {
    Never,
    /// On small whole numbers, whose products and sums are exact in any order.
    Integers,
    /// Always: the result is a copy.
    Always,
}

/// A result as the sum that it is. It may be off by `eps * sqrt(terms)` of the magnitude of what is
/// added up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::engine) struct Sum {
    /// The length of the longest sum on the way to a result.
    pub terms: usize,
    pub exact: Exact,
    /// Whether what is added up is, on absolute inputs, what the reference gives for them. Otherwise
    /// the magnitude is that of the result, and the reference is run on inputs that are off by a
    /// rounding to see what these do to it.
    pub absolute: bool,
    /// Whether a function of the driver has a part in it: `exp`, `log`, `tanh`.
    pub driver: bool,
    /// The share of the results that can be other than zero.
    pub reach: f64,
    /// Whether what is rounded in one result is in others too, as with a fast algorithm, which makes several at
    /// once: each may be off by what the largest may.
    pub spread: bool,
}

/// Roundings of a formula around a sum: a division counts as three, a square root as four.
pub(in crate::engine) const FORMULA: usize = 16;

impl Sum {
    /// A value that is copied.
    pub fn copy() -> Self {
        Self {
            exact: Exact::Always,
            ..Self::formula(1)
        }
    }

    /// A sum of products, exact on whole numbers.
    pub fn products(terms: usize) -> Self {
        Self {
            exact: Exact::Integers,
            ..Self::scaled(terms)
        }
    }

    /// A sum that is scaled, so that whole numbers are rounded too.
    pub fn scaled(terms: usize) -> Self {
        Self {
            absolute: true,
            ..Self::formula(terms)
        }
    }

    /// A formula around a sum of so many terms.
    pub fn formula(terms: usize) -> Self {
        Self {
            terms,
            exact: Exact::Never,
            absolute: false,
            driver: false,
            reach: 1.0,
            spread: false,
        }
    }

    /// With functions of the driver.
    pub fn driver(self) -> Self {
        Self {
            driver: true,
            ..self
        }
    }

    /// By kernels that spread roundings, if they do.
    pub fn spread(self, spread: bool) -> Self {
        Self { spread, ..self }
    }

    /// With so large a share of results that can be other than zero.
    pub fn reach(self, reach: f64) -> Self {
        Self { reach, ..self }
    }
}

/// The longest chain of additions in a sum over so many values that workgroups share, and the formula around
/// it. An invocation adds up blocks of 16, at most 16 of them; a workgroup its 64 invocations' sums in 6 levels;
/// and the sums of workgroups are added up in blocks in their turn. Workgroups of 8 have 3 levels and up to 128 blocks.
pub(in crate::engine) fn chain(values: usize) -> usize {
    let blocks = |terms: usize, most: usize| terms.min(16) + terms.div_ceil(16).min(most);
    let by_64 = 6 + blocks(values.div_ceil(64), 16);
    let by_8 = 3 + blocks(values.div_ceil(8), 128);
    let mut chain = FORMULA + by_64.max(by_8);
    let mut sums = values / 4096;
    while sums > 1 {
        chain += 6 + blocks(sums, 16);
        sums /= 256;
    }
    chain
}

/// What an operator's results may be off by.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Rounding {
    pub output: Sum,
    /// Of the gradient of each input; the last one of those that follow, too.
    pub inputs: Vec<Sum>,
    /// Of the gradients of the learned parameters.
    pub parameters: Vec<Sum>,
    /// Of the running statistics.
    pub running: Sum,
    /// Whether the kernels compute the gradient from the value as it is stored, where the reference
    /// computes the value anew.
    pub from_stored_value: bool,
}

impl Rounding {
    /// Of the gradient of the input at a position.
    pub fn input(&self, position: usize) -> Sum {
        let stated = self.inputs.get(position).or(self.inputs.last());
        stated.copied().unwrap_or(self.output)
    }

    /// Of an operator with nothing to learn.
    pub fn of(output: Sum, input: Sum) -> Self {
        Self {
            output,
            inputs: vec![input],
            parameters: vec![],
            running: Sum::copy(),
            from_stored_value: false,
        }
    }
}
