//! Weights that a [`Trainer`] reads and writes.

use std::path::Path;

use super::Trainer;
use super::trainer::Backend;
use crate::Result;
use crate::file::Replacement;
use crate::file::safetensors::Sink;
use crate::model::{LoadReport, ParameterId, SaveOptions, Weights};

impl Trainer {
    /// Writes all weights to a safetensors file, under PyTorch's names and in its layouts.
    ///
    /// They are read back from the device and written one after the other. Until all of them are on
    /// the disk, what was under that name before stays there. A link is followed, also to a file that
    /// is yet to be made, and a file that is replaced keeps its mode and its owner. Where a file has a
    /// second name (a hard link), that one keeps the old contents. Of
    /// [several ranks](crate::TrainerBuilder::distributed) rank 0 alone writes it.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) where the path is not that of a file, where the file is read-only or
    /// its owner would not stay, and where its folder is missing or cannot be written in.
    #[cfg(feature = "native")]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_with(path, &SaveOptions::new())
    }

    /// [`save`](Self::save) with names, or numbers, of one's own choice.
    ///
    /// # Errors
    /// Those of [`save`](Self::save), and [`Error::Argument`](crate::Error::Argument) where two weights would
    /// have one name or none is left, and for a number that the file cannot hold.
    #[cfg(feature = "native")]
    pub fn save_with(&self, path: impl AsRef<Path>, options: &SaveOptions) -> Result<()> {
        pollster::block_on(self.write_file(path.as_ref(), options))
    }

    /// [`save_with`](Self::save_with) for asynchronous programs. A browser has no files:
    /// [`weights_bytes_async`](Self::weights_bytes_async) gives what would be in one.
    pub async fn save_async(&self, path: impl AsRef<Path>, options: &SaveOptions) -> Result<()> {
        self.write_file(path.as_ref(), options).await
    }

    /// The bytes of the file that [`save_with`](Self::save_with) writes.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) where two weights would have one name or none is left, and
    /// for a number that the file cannot hold; the device's errors.
    #[cfg(feature = "native")]
    pub fn weights_bytes(&self, options: &SaveOptions) -> Result<Vec<u8>> {
        pollster::block_on(self.weights_bytes_async(options))
    }

    /// [`weights_bytes`](Self::weights_bytes) for asynchronous programs and the browser.
    pub async fn weights_bytes_async(&self, options: &SaveOptions) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write(options, &mut bytes).await?;
        Ok(bytes)
    }

    async fn write_file(&self, path: &Path, options: &SaveOptions) -> Result<()> {
        if !self.writes() {
            return options.layout(&self.model().graph).map(drop);
        }
        let mut file = Replacement::begin(path)?;
        self.write(options, &mut file).await?;
        file.finish()
    }

    async fn write(&self, options: &SaveOptions, sink: &mut impl Sink) -> Result<()> {
        let layout = options.layout(&self.model().graph)?;
        sink.write(&layout.header)?;
        for (at, name) in layout.parameters() {
            layout.write(at, &self.parameter_async(name).await?, sink)?;
        }
        Ok(())
    }

    /// Reads weights from a safetensors file, such as the state of a `torch.nn.Sequential` of the same layers,
    /// and says what it has read. [`Weights`] tell of files whose names or tensors are not quite the model's,
    /// and of bytes. The optimizer's state stays as it is. Nothing changes on an error.
    ///
    /// ```
    /// use wgpu_cnn::{Model, SaveOptions, Trainer, Weights};
    /// let model = |classes| Model::builder([4]).dense(8).relu().dense(classes).build();
    /// let trained = Trainer::builder(model(10)?).on_cpu()?;
    /// let bytes = trained.weights_bytes(&SaveOptions::new())?;
    ///
    /// let mut trainer = Trainer::builder(model(3)?).on_cpu()?;
    /// let report = trainer.load(Weights::bytes(bytes).skip("2.*"))?;
    /// assert_eq!(report.loaded, ["0.weight", "0.bias"]);
    /// assert_eq!(report.skipped, ["2.weight", "2.bias"]);
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) for a file that is none, or whose tensors are not the model's: the
    /// first of those that are too many, missing, or of another shape or type, each with both shapes; the
    /// device's errors.
    #[cfg(feature = "native")]
    pub fn load(&mut self, weights: impl Into<Weights>) -> Result<LoadReport> {
        pollster::block_on(self.read(weights.into()))
    }

    /// [`load`](Self::load) for asynchronous programs and the browser, which has
    /// [bytes](Weights::bytes) and no files. Await it to its end: dropped in the middle, it leaves some of the
    /// weights as they were.
    pub async fn load_async(&mut self, weights: impl Into<Weights>) -> Result<LoadReport> {
        self.read(weights.into()).await
    }

    async fn read(&mut self, weights: Weights) -> Result<LoadReport> {
        self.check_not_averaged()?;
        // All are read before the first is set, so that a file that ends early changes nothing.
        let mut opened = weights.open(&self.model().graph)?;
        let mut values = opened.read_all(&self.model().graph)?;
        for at in 0..values.len() {
            let (id, new) = &mut values[at];
            if let Err(error) = self.exchange(*id, new).await {
                for (id, old) in &values[..at] {
                    // What failed first is what is told, also where this fails too.
                    let _ = self.set(*id, old).await;
                }
                return Err(error);
            }
        }
        Ok(opened.into_report())
    }

    /// Sets a parameter, and leaves what it was.
    async fn exchange(&mut self, id: ParameterId, values: &mut Vec<f32>) -> Result<()> {
        let graph = &self.model().graph;
        let old = match &self.backend {
            Backend::Gpu(plan) => plan.parameter(id).await?,
            Backend::Cpu(reference) => reference.parameter(&graph.parameter(id).name)?.to_vec(),
        };
        self.set(id, values).await?;
        *values = old;
        Ok(())
    }

    async fn set(&mut self, id: ParameterId, values: &[f32]) -> Result<()> {
        let name = self.model().graph.parameter(id).name.clone();
        self.session.changes += 1;
        match &mut self.backend {
            Backend::Gpu(plan) => plan.set_parameter(id, values).await,
            Backend::Cpu(reference) => reference.set_parameter(&name, values),
        }
    }
}
