//! Element-wise non-linear functions: the table of what each of them is.

use super::{Definition, ParameterSpec, only};
use crate::{Error, Result, Shape};

/// Declares [`Activation`] from the table of its rows: a function's documentation, its name, its
/// numbers with what they usually are, and what the crate knows of it.
macro_rules! activations {
    ($(
        $(#[$doc:meta])*
        $name:ident $({ $($(#[$field_doc:meta])* $field:ident = $usual:literal),* })? => $row:expr
    ),* $(,)?) => {
        /// An element-wise non-linear function. Each passes NaN through forward, and backward too but for
        /// [`HardSigmoid`](Self::HardSigmoid), whose gradient there is zero as in PyTorch.
        #[derive(Debug, Clone, Copy, PartialEq)]
        #[non_exhaustive]
        pub enum Activation {
            $($(#[$doc])* $name $({ $($(#[$field_doc])* $field: f32),* })?),*
        }

        impl Activation {
            /// Every activation, in the order of the shaders' numbers from 1 on.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [
                $(Self::$name $({ $($field: $usual),* })?),*
            ];

            /// Every activation with other numbers than the usual ones, where it has any.
            pub(crate) const VARIED: [Self; Self::ALL.len()] = [
                $(Self::$name $({ $($field: $usual / 1.25),* })?),*
            ];

            const fn row(self) -> Row {
                match self {
                    $(Self::$name $({ $($field),* })? => $row),*
                }
            }
        }
    };
}

activations! {
    /// `max(x, 0)`. Its gradient is zero where `x <= 0`.
    Relu => Row::new("relu", 1, Saved::Value).arithmetic(Arithmetic::Copy),

    /// The logistic function `1 / (1 + exp(-x))`.
    Sigmoid => Row::new("sigmoid", 2, Saved::Value),

    /// The hyperbolic tangent.
    Tanh => Row::new("tanh", 3, Saved::Value),

    /// `x` where `x > 0`, else `slope * x`; the slope is usually 0.01.
    LeakyRelu {
        /// The slope for negative arguments, not negative itself.
        slope = 0.01
    } => Row::new("leaky_relu", 4, Saved::Value)
        .arithmetic(Arithmetic::Product)
        .number("slope", slope, Domain::NotNegative),

    /// `x * Phi(x)` with the normal distribution's `Phi`, through the error function (Hendrycks and
    /// Gimpel 2016).
    Gelu => Row::new("gelu", 5, Saved::Argument),

    /// GELU's approximation `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
    GeluTanh => Row::new("gelu_tanh", 6, Saved::Argument),

    /// `x * sigmoid(x)`, also called swish.
    Silu => Row::new("silu", 7, Saved::Argument),

    /// `log(1 + exp(x))`, and `x` itself above 20, as in PyTorch.
    Softplus => Row::new("softplus", 8, Saved::Argument),

    /// `x` where `x > 0`, else `alpha * (exp(x) - 1)` (Clevert, Unterthiner and Hochreiter 2016); alpha is
    /// usually 1.
    Elu {
        /// What negative arguments tend to, with the other sign; not negative itself.
        alpha = 1.0
    } => Row::new("elu", 9, Saved::Value).number("alpha", alpha, Domain::NotNegative),

    /// `min(max(x, 0), 6)` (Krizhevsky 2010). Its gradient is zero at 0 and 6 and beyond.
    Relu6 => Row::new("relu6", 10, Saved::Value).arithmetic(Arithmetic::Copy),

    /// `x` within two bounds, usually -1 and 1, and the nearer one beyond them. Its gradient is zero at
    /// both and beyond.
    HardTanh {
        /// The lower bound.
        min = -1.0,
        /// The upper bound, above the lower one.
        max = 1.0
    } => Row::new("hard_tanh", 11, Saved::Value)
        .arithmetic(Arithmetic::Copy)
        .number("min", min, Domain::Finite)
        .number("max", max, Domain::AboveTheFirst),

    /// `min(max(x + 3, 0), 6) / 6` (Howard et al. 2019). Its gradient is zero at -3 and 3 and beyond, and
    /// where `x` is NaN.
    HardSigmoid => Row::new("hard_sigmoid", 12, Saved::Value).arithmetic(Arithmetic::Product),

    /// `x * min(max(x + 3, 0), 6) / 6` (Howard et al. 2019). Its gradient is 0 at -3, and 1 at 3.
    HardSwish => Row::new("hard_swish", 13, Saved::Argument).arithmetic(Arithmetic::Formula),

    /// `scale * x` where `x > 0`, else `scale * alpha * (exp(x) - 1)`, with scale 1.0507 and alpha 1.6733
    /// (Klambauer et al. 2017).
    Selu => Row::new("selu", 14, Saved::Value),

    /// `x` where `x > 0`, else `alpha * (exp(x / alpha) - 1)` (Barron 2017), whose gradient at 0 is 1
    /// whatever alpha is; usually that is 1.
    Celu {
        /// What negative arguments tend to, with the other sign; above zero.
        alpha = 1.0
    } => Row::new("celu", 15, Saved::Value).number("alpha", alpha, Domain::Positive),

    /// `x * tanh(log(1 + exp(x)))` (Misra 2019).
    Mish => Row::new("mish", 16, Saved::Argument),

    /// `x / (1 + |x|)`.
    Softsign => Row::new("softsign", 17, Saved::Value).arithmetic(Arithmetic::Formula),
}

/// What the crate knows of an activation beside its formulas.
struct Row {
    name: &'static str,
    /// What stands for it in the shaders.
    code: u32,
    saved: Saved,
    arithmetic: Arithmetic,
    /// The numbers that it depends on.
    numbers: [Option<Number>; 2],
}

/// What of rounding an activation has in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// None: it copies, or writes a constant.
    Copy,
    /// That of a product, or of a sum and a product.
    Product,
    /// That of formulas without functions of the driver.
    Formula,
    /// That of formulas, with functions of the driver such as `exp` in the value, and in a gradient that
    /// follows from the argument.
    Functions,
}

/// What the gradient of an activation follows from.
#[derive(Clone, Copy, PartialEq)]
enum Saved {
    /// The function's value: such a function can be part of the kernel before it, and its argument
    /// need not be kept.
    Value,
    Argument,
}

/// A number that an activation depends on.
#[derive(Clone, Copy)]
struct Number {
    name: &'static str,
    value: f32,
    domain: Domain,
}

/// What a number may be. It is always finite.
#[derive(Clone, Copy)]
enum Domain {
    Finite,
    NotNegative,
    /// As a number of 32 bits that no device takes for zero.
    Positive,
    /// Above the number before it.
    AboveTheFirst,
}

impl Row {
    const fn new(name: &'static str, code: u32, saved: Saved) -> Self {
        Self {
            name,
            code,
            saved,
            arithmetic: Arithmetic::Functions,
            numbers: [None; 2],
        }
    }

    /// With other arithmetic than that of functions.
    const fn arithmetic(self, arithmetic: Arithmetic) -> Self {
        Self { arithmetic, ..self }
    }

    /// With one more number; a third does not compile.
    const fn number(mut self, name: &'static str, value: f32, domain: Domain) -> Self {
        let mut at = 0;
        while self.numbers[at].is_some() {
            at += 1;
        }
        self.numbers[at] = Some(Number {
            name,
            value,
            domain,
        });
        self
    }

    /// The numbers as the shaders take them: `a` and `b`.
    fn values(&self) -> [f32; 2] {
        self.numbers
            .map(|number| number.map_or(0.0, |number| number.value))
    }
}

impl Activation {
    /// The name that reports use.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The number that stands for this function in the shaders, where 0 is the identity.
    pub(crate) const fn code(self) -> u32 {
        self.row().code
    }

    /// What of rounding it has in it.
    pub(crate) fn arithmetic(self) -> Arithmetic {
        self.row().arithmetic
    }

    /// The numbers that the function depends on, as the shaders take them: `a` and `b`.
    pub(crate) fn numbers(self) -> [f32; 2] {
        self.row().values()
    }

    /// Whether the gradient follows from the function's value alone, without its argument. Such a
    /// function can be part of the product before it.
    pub(crate) fn gradient_from_value(self) -> bool {
        self.row().saved == Saved::Value
    }

    /// Whether it is made of straight lines.
    pub(crate) fn is_straight(self) -> bool {
        match self.arithmetic() {
            Arithmetic::Copy | Arithmetic::Product => true,
            Arithmetic::Formula | Arithmetic::Functions => false,
        }
    }

    /// An error that names a number which is outside its domain.
    pub(crate) fn check(self) -> Result<()> {
        let Row { name, numbers, .. } = self.row();
        let [first, _] = self.numbers();
        for number in numbers.into_iter().flatten() {
            let Number { value, domain, .. } = number;
            let (holds, said) = match domain {
                Domain::Finite => (true, "finite"),
                Domain::NotNegative => (value >= 0.0, "positive"),
                Domain::Positive => (value >= f32::MIN_POSITIVE, "above zero"),
                Domain::AboveTheFirst => (value > first, "above the other bound"),
            };
            if !(holds && value.is_finite()) {
                let argument = format!("{name} {}", number.name);
                return Err(Error::argument(argument, format!("{value} is not {said}")));
            }
        }
        Ok(())
    }
}

/// The shaders' numbers count from 1.
const _: () = {
    let mut at = 0;
    while at < Activation::ALL.len() {
        at += 1;
        assert!(Activation::ALL[at - 1].code() as usize == at);
    }
};

impl Definition for Activation {
    fn name(&self) -> &'static str {
        Activation::name(*self)
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only("activation", inputs)?;
        self.check().map(|()| input.clone())
    }

    fn parameters(&self, _: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        Ok(Vec::new())
    }

    fn is_view(&self) -> bool {
        false
    }

    fn is_identity_in_evaluation(&self) -> bool {
        false
    }

    fn check_training(&self, _: usize, _: &[&Shape]) -> Result<()> {
        Ok(())
    }

    fn reads_half(&self, _: usize) -> bool {
        false
    }

    fn multiply_adds(&self, _: &[&Shape]) -> Result<u64> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_outside_its_domain_is_refused_by_name() {
        let check = |slope| Activation::LeakyRelu { slope }.check();
        for slope in [0.0, 0.25, 3.0] {
            check(slope).unwrap();
        }
        for slope in [-0.1, f32::NAN, f32::INFINITY] {
            let said = check(slope).unwrap_err().to_string();
            let expected = format!("leaky_relu slope: {slope} is not positive");
            assert!(said.contains(&expected), "{said}");
        }
    }

    #[test]
    fn bounds_are_finite_and_in_order_and_divisors_no_zeros() {
        let said = |function: Activation| function.check().unwrap_err().to_string();
        let bounds = |min, max| Activation::HardTanh { min, max };
        bounds(-0.5, 2.0).check().unwrap();
        bounds(3.0, 4.0).check().unwrap();
        for max in [-0.5, -1.0, f32::INFINITY, f32::NAN] {
            let expected = format!("hard_tanh max: {max} is not above the other bound");
            assert!(said(bounds(-0.5, max)).contains(&expected));
        }
        for min in [f32::NEG_INFINITY, f32::NAN] {
            let expected = format!("hard_tanh min: {min} is not finite");
            assert!(said(bounds(min, 1.0)).contains(&expected));
        }
        Activation::Celu { alpha: 1e-30 }.check().unwrap();
        for alpha in [0.0, -1.0, 1e-40, f32::INFINITY, f32::NAN] {
            let expected = format!("celu alpha: {alpha} is not above zero");
            assert!(said(Activation::Celu { alpha }).contains(&expected));
        }
    }

    #[test]
    fn rows_give_what_the_shaders_take() {
        let leaky = Activation::LeakyRelu { slope: 0.25 };
        assert_eq!(leaky.numbers(), [0.25, 0.0]);
        assert_eq!(Activation::Gelu.numbers(), [0.0; 2]);
        let row = Row::new("bounds", 1, Saved::Value)
            .number("low", 1.5, Domain::NotNegative)
            .number("high", 2.5, Domain::NotNegative);
        assert_eq!(row.values(), [1.5, 2.5]);
        let names: std::collections::BTreeSet<_> = Activation::ALL.map(Activation::name).into();
        assert_eq!(names.len(), Activation::ALL.len(), "two of one name");
        for activation in Activation::ALL {
            activation.check().unwrap();
        }
    }
}
