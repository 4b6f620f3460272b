//! Which output has which loss.

use super::Graph;
use super::inputs::one_each;
use crate::op::{Loss, Target};
use crate::{Error, Result};

/// What a training makes smaller: the losses of a model's outputs, each with a weight. A [`Loss`] by itself
/// is that of the first output.
///
/// ```
/// use wgpu_cnn::{Linear, Loss, Losses, Model, Trainer};
/// let mut net = Model::graph();
/// let x = net.input([8]);
/// let hidden = net.add("hidden", Linear::new(16), [x])?;
/// let class = net.add("class", Linear::new(3), [hidden])?;
/// let auxiliary = net.add("auxiliary", Linear::new(3), [x])?;
/// let model = net.build([class, auxiliary])?;
/// let losses = Losses::of("class", Loss::cross_entropy(), 1.0)
///     .and("auxiliary", Loss::cross_entropy(), 0.3);
/// let mut trainer = Trainer::builder(model).loss(losses).batch(2).on_cpu()?;
/// trainer.step(&[0.5; 16], [&[0u8, 2], &[0, 2]])?;
/// let each = trainer.losses()?;
/// assert!((trainer.loss()? - (each[0].1 + 0.3 * each[1].1)).abs() < 1e-6);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Losses {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    /// The output by name, or the first.
    output: Option<String>,
    /// `None` where the caller computes it.
    loss: Option<Loss>,
    weight: f64,
}

impl Losses {
    /// A loss of the output with a name, times a weight. That the model has no such output, that the loss does not
    /// fit it or that the weight is infinite or NaN is an error of making the trainer.
    pub fn of(output: &str, loss: impl Into<Loss>, weight: f64) -> Self {
        Self { entries: vec![] }.and(output, loss, weight)
    }

    /// A loss of one's own on the output with a name: training goes by
    /// [`Trainer::forward`](crate::Trainer::forward), the caller's gradient of the loss with respect to
    /// the output, and [`Trainer::backward`](crate::Trainer::backward).
    pub fn own(output: &str) -> Self {
        Self { entries: vec![] }.and_own(output)
    }

    /// A loss of [one's own](Self::own) on the first output, whatever it is called.
    pub fn own_first() -> Self {
        Self::on_first(None)
    }

    fn on_first(loss: Option<Loss>) -> Self {
        let (output, weight) = (None, 1.0);
        Self {
            entries: vec![Entry {
                output,
                loss,
                weight,
            }],
        }
    }

    /// Adds another loss, of another output or of the same one. A step takes the targets in the order of
    /// the losses.
    pub fn and(self, output: &str, loss: impl Into<Loss>, weight: f64) -> Self {
        self.with(output, Some(loss.into()), weight)
    }

    /// Adds a loss of [one's own](Self::own).
    pub fn and_own(self, output: &str) -> Self {
        self.with(output, None, 1.0)
    }

    fn with(mut self, output: &str, loss: Option<Loss>, weight: f64) -> Self {
        self.entries.push(Entry {
            output: Some(output.into()),
            loss,
            weight,
        });
        self
    }

    /// The losses on a model's outputs.
    pub(crate) fn resolve(&self, graph: &Graph) -> Result<Vec<OutputLoss>> {
        let (mut resolved, several) = (Vec::new(), self.entries.len() > 1);
        for entry in &self.entries {
            let output = match &entry.output {
                Some(name) => graph.output_named(name)?,
                None => 0,
            };
            let shape = graph.shape(graph.outputs()[output]);
            if let Some(loss) = &entry.loss {
                let fits = loss.geometry(1, shape);
                fits.map_err(|error| of_output(graph, output, several, error))?;
            }
            if !(entry.weight as f32).is_finite() {
                let name = graph.value_name(graph.outputs()[output]);
                let reason = format!("{} is no finite number of 32 bits", entry.weight);
                return Err(Error::argument(
                    format!("weight of the loss of {name}"),
                    reason,
                ));
            }
            resolved.push(OutputLoss {
                output,
                loss: entry.loss.clone(),
                weight: entry.weight,
            });
        }
        let own = resolved.iter().filter(|loss| loss.loss.is_none()).count();
        if own > 0 && own < resolved.len() {
            let reason = "all of them are the caller's, or none";
            return Err(Error::argument("losses", reason));
        }
        Ok(resolved)
    }
}

impl<L: Into<Loss>> From<L> for Losses {
    fn from(loss: L) -> Self {
        Self::on_first(Some(loss.into()))
    }
}

/// An error, with the output that it is of where there are several losses.
fn of_output(graph: &Graph, output: usize, several: bool, error: Error) -> Error {
    if !several {
        return error;
    }
    let name = graph.value_name(graph.outputs()[output]);
    #[allow(clippy::wildcard_enum_match_arm)] // the others are of no output
    match error {
        Error::Shape {
            layer,
            expected,
            got,
        } => Error::Shape {
            layer: format!("loss of {name}: {layer}"),
            expected,
            got,
        },
        Error::Argument { argument, reason } => Error::Argument {
            argument: format!("loss of {name}: {argument}"),
            reason,
        },
        other => other,
    }
}

/// The loss of an output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OutputLoss {
    /// The place among the model's outputs.
    pub output: usize,
    /// `None` where the caller computes it.
    pub loss: Option<Loss>,
    pub weight: f64,
}

impl OutputLoss {
    /// The loss of the first output.
    pub fn first(loss: &Loss) -> Self {
        Self {
            output: 0,
            loss: Some(loss.clone()),
            weight: 1.0,
        }
    }

    /// The function, unless the caller computes it.
    pub fn function(&self) -> Result<&Loss> {
        self.loss.as_ref().ok_or_else(|| {
            let reason = "is the caller's: it trains by forward, backward and update, as \
                          Trainer::forward shows";
            Error::argument("loss", reason)
        })
    }

    /// Whether the losses of a batch's examples are summed up, as is all that the caller hands in.
    pub fn is_sum(&self) -> bool {
        self.loss.as_ref().is_none_or(Loss::is_sum)
    }
}

/// What a batch counts for among the several of an update, and what each of its losses is divided by for
/// that. The gradients of a single loss are summed up undivided, and their sum is divided by all that the
/// batches count for: that is exactly the mean over all of their rows. Of several losses each batch's means
/// count by its examples.
pub(crate) struct Shares {
    pub batch: f64,
    pub divisors: Vec<f64>,
}

impl Shares {
    pub fn of(losses: &[OutputLoss], normalisers: &[f64], examples: usize) -> Self {
        // Where every row was ignored the gradients are zero, and stay so.
        let whole = |normaliser: f64| if normaliser == 0.0 { 1.0 } else { normaliser };
        match (losses, normalisers) {
            _ if losses.iter().all(OutputLoss::is_sum) => Self {
                batch: 1.0,
                divisors: vec![1.0; losses.len()],
            },
            ([_], &[normaliser]) => Self {
                batch: normaliser,
                divisors: vec![1.0],
            },
            _ => Self {
                batch: examples as f64,
                divisors: normalisers
                    .iter()
                    .map(|&normaliser| whole(normaliser) / examples as f64)
                    .collect(),
            },
        }
    }
}

/// Refuses losses that are partly sums and partly means where an update takes several batches: what they
/// add up to has no common divisor.
pub(crate) fn check_accumulate(losses: &[OutputLoss], accumulate: usize) -> Result<()> {
    let sums = losses.iter().filter(|loss| loss.is_sum()).count();
    if accumulate > 1 && sums > 0 && sums < losses.len() {
        let reason = "adds up sums or means of losses, and these are both";
        return Err(Error::argument("accumulate", reason));
    }
    Ok(())
}

/// Refuses what is for losses of the caller's where they are not.
pub(crate) fn check_own(losses: &[OutputLoss], what: &str) -> Result<()> {
    match losses.iter().all(|loss| loss.loss.is_none()) {
        true => Ok(()),
        false => Err(Error::argument(
            what,
            "is for losses of one's own: Losses::own",
        )),
    }
}

/// The examples of the forward pass that a backward pass would go back from, where there is one.
pub(crate) fn check_forwarded(examples: Option<usize>) -> Result<usize> {
    let reason = "needs a forward pass just before it";
    examples.ok_or_else(|| Error::argument("backward", reason))
}

/// Refuses a second batch where each makes an update.
pub(crate) fn check_not_due(accumulate: usize, pending: usize) -> Result<()> {
    match accumulate > 1 || pending == 0 {
        true => Ok(()),
        false => {
            let reason = "an update is due: accumulate(2) or more adds up the gradients of several";
            Err(Error::argument("backward", reason))
        }
    }
}

/// Refuses gradients of lengths that do not fit the outputs of the losses.
pub(crate) fn check_gradients(
    graph: &Graph,
    losses: &[OutputLoss],
    examples: usize,
    given: impl ExactSizeIterator<Item = usize>,
) -> Result<()> {
    if given.len() != losses.len() {
        let expected = one_each("gradient", losses.len(), "loss");
        return Err(Error::shape("gradients", expected, given.len()));
    }
    for (loss, gradient) in losses.iter().zip(given) {
        let output = graph.outputs()[loss.output];
        let shape = graph.shape(output).batched(examples);
        if gradient != shape.len() {
            let what = format!("gradient of {}", graph.value_name(output));
            return Err(Error::length(&what, &shape, gradient));
        }
    }
    Ok(())
}

/// What the outputs of a batch should have been, loss by loss. A [`Target`], or what makes one, is that of
/// a single loss; a list has one for each, in the order of the [`Losses`].
#[derive(Debug, Clone, PartialEq)]
pub struct Targets(pub(crate) Vec<Target>);

impl Targets {
    /// Refuses what does not fit the losses and a batch of so many examples.
    pub(crate) fn check(
        &self,
        graph: &Graph,
        losses: &[OutputLoss],
        examples: usize,
    ) -> Result<()> {
        self.check_count(losses)?;
        for (loss, target) in losses.iter().zip(&self.0) {
            let shape = graph.shape(graph.outputs()[loss.output]);
            let function = loss.function()?;
            let fits = function.geometry(examples, shape);
            let fits = fits.and_then(|geometry| target.check(function, &geometry));
            fits.map_err(|error| of_output(graph, loss.output, losses.len() > 1, error))?;
        }
        Ok(())
    }
}

impl Targets {
    /// The same where nothing is learned, and so where the losses may be the caller's: then whatever one
    /// hands in for each of them fits.
    pub(crate) fn check_evaluation(
        &self,
        graph: &Graph,
        losses: &[OutputLoss],
        examples: usize,
    ) -> Result<()> {
        match losses.iter().all(|loss| loss.loss.is_none()) {
            true => self.check_count(losses),
            false => self.check(graph, losses, examples),
        }
    }

    /// Whether they are those of no example.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|target| match target {
            Target::Labels(labels) => labels.is_empty(),
            Target::WideLabels(labels) => labels.is_empty(),
            Target::Values(values) => values.is_empty(),
        })
    }

    /// Refuses another number than there are losses.
    fn check_count(&self, losses: &[OutputLoss]) -> Result<()> {
        if self.0.len() == losses.len() {
            return Ok(());
        }
        let expected = one_each("target", losses.len(), "loss");
        Err(Error::shape("targets", expected, self.0.len()))
    }
}

impl<T: Into<Target>> From<T> for Targets {
    fn from(target: T) -> Self {
        Self(vec![target.into()])
    }
}

macro_rules! lists_of_targets {
    ($($element:ty),*) => {$(
        lists_of_targets!(@lists [] &[$element]);
        lists_of_targets!(@lists [] &Vec<$element>);
        lists_of_targets!(@lists [] Vec<$element>);
        lists_of_targets!(@lists [const M: usize,] &[$element; M]);
    )*};
    (@lists [$($parameter:tt)*] $target:ty) => {
        impl<$($parameter)* const N: usize> From<[$target; N]> for Targets {
            fn from(targets: [$target; N]) -> Self {
                Self(targets.into_iter().map(Into::into).collect())
            }
        }
        impl<$($parameter)*> From<Vec<$target>> for Targets {
            fn from(targets: Vec<$target>) -> Self {
                Self(targets.into_iter().map(Into::into).collect())
            }
        }
    };
}
lists_of_targets!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32);
lists_of_targets!(@lists [] Target);
lists_of_targets!(@lists [] &Target);
