//! The average of the parameters over the updates.

use super::Reference;
use crate::Result;
use crate::cpu::{self, Real};
use crate::engine::check_averages;
use crate::model::ParameterId;
use crate::op::Average;

/// The average of the parameters over the updates.
#[derive(Debug, Clone)]
pub(super) struct Averages<T> {
    pub(super) average: Average,
    /// Each as long as its parameter; empty for what is not learned.
    pub(super) values: Vec<Vec<T>>,
    /// The updates that had been made when it began.
    pub(super) began: u64,
    /// Whether it is in place of the parameters.
    pub(super) in_place: bool,
}

impl<T: Real> Reference<T> {
    /// Keeps an average of what is learned over the updates from here on, or none any more. Default none.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`](crate::Error::Argument) where its decay is out of its domain.
    pub fn set_average(&mut self, average: Option<Average>) -> Result<()> {
        average.map_or(Ok(()), |average| average.check())?;
        self.average = average.map(|average| {
            let parameters = self.parameters.iter().enumerate();
            let values = parameters.map(|(at, values)| match self.is_learned(at) {
                true => values.clone(),
                false => vec![],
            });
            let values = values.collect();
            Averages {
                average,
                values,
                began: self.updates,
                in_place: false,
            }
        });
        Ok(())
    }

    /// Exchanges the parameters with their average, and back with the next call. Before its first update the
    /// average is the parameters.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`](crate::Error::Argument) where none is kept.
    pub fn swap_average(&mut self) -> Result<()> {
        check_averages(self.average.as_ref().map(|averages| averages.average))?;
        self.forget_forward();
        let begun = self.has_average();
        let learned = (0..self.parameters.len()).filter(|&at| self.is_learned(at));
        let learned: Vec<usize> = learned.collect();
        let Some(Averages {
            values, in_place, ..
        }) = &mut self.average
        else {
            return Ok(());
        };
        *in_place = !*in_place;
        for at in learned {
            if !begun {
                values[at].clone_from(&self.parameters[at]);
            }
            std::mem::swap(&mut values[at], &mut self.parameters[at]);
        }
        Ok(())
    }

    /// Whether the average is in place of the parameters.
    pub(crate) fn is_averaged(&self) -> bool {
        self.average.as_ref().is_some_and(|own| own.in_place)
    }

    /// The average of a learned parameter, once there is one.
    pub(crate) fn average(&self, id: ParameterId) -> Option<&[T]> {
        let averages = self.average.as_ref().filter(|_| self.has_average())?;
        let values = averages.values[id.0].as_slice();
        self.is_learned(id.0).then_some(values)
    }

    /// The updates that had been made when the average began, where one is kept.
    pub(super) fn average_began(&self) -> Option<u64> {
        self.average.as_ref().map(|averages| averages.began)
    }

    /// Goes on with an average that began once so many updates had been made.
    pub(super) fn set_average_began(&mut self, updates: u64) {
        if let Some(averages) = self.average.as_mut() {
            averages.began = updates;
        }
    }

    /// Whether an update has been made since an average is kept.
    pub(crate) fn has_average(&self) -> bool {
        self.average_began()
            .is_some_and(|began| self.updates > began)
    }

    /// Goes on from an average of a learned parameter, where one is kept.
    pub(super) fn go_on_from_average(&mut self, id: ParameterId, values: &[T]) {
        if let Some(averages) = self.average.as_mut() {
            averages.values[id.0].clear();
            averages.values[id.0].extend_from_slice(values);
        }
    }

    fn is_learned(&self, at: usize) -> bool {
        self.wanted.parameter(ParameterId(at))
    }

    /// What an update makes of the average.
    pub(super) fn update_average(&mut self) -> Result<()> {
        let Some(averages) = &mut self.average else {
            return Ok(());
        };
        let update = averages.average.own_update(self.updates, averages.began);
        let pairs = self.parameters.iter().zip(&mut averages.values);
        for (parameter, averaged) in pairs.filter(|(_, averaged)| !averaged.is_empty()) {
            cpu::average_update(&averages.average, update, parameter, averaged)?;
        }
        Ok(())
    }
}
