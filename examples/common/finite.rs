//! Whether a training has diverged in its last update, which no loss has seen.

use std::error::Error;

use wgpu_cnn::Trainer;

/// Reads all parameters: once, after the training.
pub fn check(trainer: &Trainer) -> Result<(), Box<dyn Error>> {
    for (name, _) in trainer.model().parameters() {
        let values = trainer.parameter(name)?;
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(format!("the training has diverged: {name} holds {value}").into());
        }
    }
    Ok(())
}
