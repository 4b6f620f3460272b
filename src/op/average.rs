//! Averages of weights over the updates.

use super::within;
use crate::Result;

/// An average of the weights over the updates of a training, which often does better than the last of
/// them (Polyak and Juditsky 1992). The first update copies them.
///
/// ```
/// use wgpu_cnn::Average;
/// let ema = Average::ema(0.75);
/// // What counts of the average and of the new weights, at each update.
/// assert_eq!(ema.shares(1), [0.0, 1.0]);
/// assert_eq!(ema.shares(2), [0.75, 0.25]);
/// assert_eq!(Average::equal().shares(4), [0.75, 0.25]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Average {
    /// What remains of the average with each update; none where all updates count the same.
    decay: Option<f64>,
    after: u64,
}

impl Average {
    /// The exponential moving average, `a = decay * a + (1 - decay) * w`: `get_ema_multi_avg_fn` of
    /// `torch.optim.swa_utils`. The usual `decay` is 0.999 or 0.9999.
    pub fn ema(decay: f64) -> Self {
        Self {
            decay: Some(decay),
            after: 0,
        }
    }

    /// The mean of all updates (Izmailov et al. 2018): `AveragedModel` of `torch.optim.swa_utils` as it is.
    pub fn equal() -> Self {
        Self {
            decay: None,
            after: 0,
        }
    }

    /// Begins after so many updates of the training: until the one that follows them the average is the weights.
    /// Default 0.
    pub fn after(mut self, updates: u64) -> Self {
        self.after = updates;
        self
    }

    /// What counts of the average so far and of the new weights at an update, counted from 1.
    pub fn shares(&self, update: u64) -> [f64; 2] {
        match (update.saturating_sub(self.after), self.decay) {
            (0 | 1, _) => [0.0, 1.0],
            (_, Some(decay)) => [decay, 1.0 - decay],
            (count, None) => {
                let new = 1.0 / count as f64;
                [1.0 - new, new]
            }
        }
    }

    /// The update to take [`shares`](Self::shares) of, for an average that is there since so many had been made:
    /// it begins with the next one, or after those that it waits for.
    pub(crate) fn own_update(&self, update: u64, began: u64) -> u64 {
        update.saturating_sub(began.saturating_sub(self.after))
    }

    /// Refuses a decay out of its domain.
    pub(crate) fn check(&self) -> Result<()> {
        within("average: decay", self.decay.unwrap_or(0.0), 0.0..=1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_that_is_added_begins_with_the_next_update() {
        for own in [Average::equal(), Average::ema(0.75)] {
            for (after, began, first) in [(0, 0, 1), (0, 7, 8), (5, 7, 8), (9, 7, 10), (9, 0, 10)] {
                let average = own.after(after);
                for update in began + 1..20 {
                    let shares = average.shares(average.own_update(update, began));
                    let expected = own.shares(update.saturating_sub(first - 1));
                    assert_eq!(
                        shares, expected,
                        "{average:?} since {began}, update {update}"
                    );
                }
            }
        }
    }
}
