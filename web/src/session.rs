//! A training on Fashion-MNIST as the page drives it. It knows nothing of pages, so that a program can make the same
//! one, step by step, for tests to compare the two.

use std::sync::Arc;

use wgpu_cnn::data::{Dataset, Epoch, Loader, Memory};
use wgpu_cnn::{
    ConfusionMatrix, Error, Gpu, LoadReport, Model, Optimizer, Probe, Result, SaveOptions, Target,
    Trainer, TrainerBuilder, Weights,
};

/// What the classes are called, by their numbers.
#[rustfmt::skip]
pub const CLASSES: [&str; 10] = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
];

/// One channel of rows of pixels.
pub const IMAGE: [usize; 3] = [1, 28, 28];
/// Of the first weights, the dropped units and the order of the images.
const SEED: u64 = 7;
/// The layers whose maps can be seen, after their activation: names of the model.
const LOOKED_AT: [&str; 2] = ["1", "4"];
/// The first layer's filters.
const FILTERS: &str = "0.weight";
/// What is recorded on the way.
pub const LOSS: &str = "loss";
/// Before the names of what the test images give.
const TEST: &str = "test ";

/// What a training starts from.
#[derive(Debug, Clone)]
pub struct Start {
    /// Images of a step.
    pub batch: usize,
    /// The learning rate, unless a checkpoint has one.
    pub rate: f64,
    /// A checkpoint to go on from.
    pub checkpoint: Option<Vec<u8>>,
}

/// A model in training, with its data.
pub struct Session {
    gpu: Gpu,
    train: Arc<Memory>,
    test: Arc<Memory>,
    trainer: Trainer,
    /// Made when it is first looked through.
    probe: Option<Probe>,
    batch: usize,
    loader: Loader,
    batches: Epoch,
    epoch: u64,
}

/// What the test images give.
pub struct Tested {
    /// The mean loss.
    pub loss: f64,
    /// The share that is right.
    pub accuracy: f64,
    /// How often a class, by rows, was taken for one, by columns.
    pub confusion: Vec<u64>,
}

/// The network of the library's first page.
fn model() -> Result<Model> {
    #[rustfmt::skip]
    let model = Model::builder(IMAGE)
        .conv2d(32, 5).relu().max_pool2d(2)
        .conv2d(64, 5).relu().max_pool2d(2)
        .flatten().dense(128).relu().dense(CLASSES.len())
        .build();
    model
}

fn missing(argument: &str, reason: &str) -> Error {
    Error::Argument {
        argument: argument.into(),
        reason: reason.into(),
    }
}

fn builder(start: &Start) -> Result<TrainerBuilder> {
    let builder = Trainer::builder(model()?)
        .batch(start.batch)
        .optimizer(Optimizer::adam(start.rate))
        .seed(SEED);
    Ok(match &start.checkpoint {
        Some(bytes) => builder.resume_bytes(bytes.clone()),
        None => builder,
    })
}

fn loader(train: &Arc<Memory>, batch: usize) -> Result<Loader> {
    let loader = Loader::builder(train.clone()).batch(batch);
    loader.shuffle(true).seed(SEED).build()
}

impl Session {
    /// Makes buffers and pipelines.
    pub async fn new(gpu: Gpu, train: Memory, test: Memory, start: Start) -> Result<Self> {
        let (train, test) = (Arc::new(train), Arc::new(test));
        let trainer = builder(&start)?.on_async(&gpu).await?;
        let loader = loader(&train, start.batch)?;
        let mut session = Self {
            epoch: 0,
            batches: loader.epoch(0),
            gpu,
            train,
            test,
            trainer,
            probe: None,
            batch: start.batch,
            loader,
        };
        session.find_place()?;
        Ok(session)
    }

    /// Starts anew on the same device and data. After an error the old training is still there.
    pub async fn restart(&mut self, start: Start) -> Result<()> {
        let trainer = builder(&start)?.on_async(&self.gpu).await?;
        self.loader = loader(&self.train, start.batch)?;
        (self.trainer, self.batch) = (trainer, start.batch);
        self.find_place()
    }

    /// Goes to where the trainer's checkpoint was written, or to the beginning.
    fn find_place(&mut self) -> Result<()> {
        self.epoch = 0;
        if !self.trainer.data_place().is_empty() {
            let place = self.trainer.data_place().try_into()?;
            self.loader.resume(&place)?;
            self.epoch = place.epoch();
        }
        self.batches = self.loader.epoch(self.epoch);
        Ok(())
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// What is trained.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// The epoch of the last batch, from 0.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Images of an epoch.
    pub fn examples(&self) -> usize {
        self.train.len()
    }

    /// Images of a step.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Trains on the next batch. Whether it was the last of its epoch.
    pub async fn step(&mut self) -> Result<bool> {
        let mut next = self.batches.next();
        if next.is_none() {
            self.epoch += 1;
            self.batches = self.loader.epoch(self.epoch);
            next = self.batches.next();
        }
        let none = || missing("data", "an epoch has no batch");
        let batch = next.ok_or_else(none)??;
        self.trainer
            .step_async(&batch.images, batch.targets)
            .await?;
        Ok(self.loader.place().epoch() > self.epoch)
    }

    /// The loss of the last step, which is recorded.
    pub async fn loss(&mut self) -> Result<f32> {
        let loss = self.trainer.loss_async().await?;
        self.trainer.record([(LOSS, loss.into())])?;
        Ok(loss)
    }

    /// What was recorded under a name: the update of each, and the value.
    pub fn curve(&self, name: &str) -> Vec<(u64, f64)> {
        self.trainer.log().values(name)
    }

    /// What the training has come to on the test images, which is recorded.
    pub async fn test(&mut self) -> Result<Tested> {
        let batches = Loader::builder(self.test.clone())
            .batch(self.batch())
            .build()?;
        let mut confusion = ConfusionMatrix::new();
        let evaluation = self
            .trainer
            .evaluate_with_async(batches.epoch(0), &mut [&mut confusion])
            .await?;
        // Tested twice between two steps, it comes to the same.
        let columns = evaluation.columns(TEST);
        let last = self.curve(&columns[0].0).last().map(|&(update, _)| update);
        if last != Some(self.trainer.updates()) {
            self.trainer.record(columns)?;
        }
        let all =
            (0..CLASSES.len()).flat_map(|row| (0..CLASSES.len()).map(move |column| (row, column)));
        Ok(Tested {
            loss: evaluation.loss,
            accuracy: confusion.accuracy(),
            confusion: all
                .map(|(row, column)| confusion.count(row, column))
                .collect(),
        })
    }

    /// The probability of each class for an image of 28 x 28 pixels from 0 to 1.
    pub async fn classify(&mut self, image: &[f32]) -> Result<Vec<f32>> {
        let logits = self.trainer.predict_async(image).await?;
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
        let sum: f32 = powers.iter().sum();
        Ok(powers.into_iter().map(|power| power / sum).collect())
    }

    /// The maps of an image behind the first convolution, `(32, 24, 24)`, or the second, `(64, 8, 8)`.
    pub async fn maps(&mut self, image: &[f32], convolution: usize) -> Result<Vec<f32>> {
        let name = LOOKED_AT.get(convolution);
        let name = *name.ok_or_else(|| missing("convolution", "there are two"))?;
        let probe = match &mut self.probe {
            Some(probe) => {
                probe.follow_async(&self.trainer).await?;
                probe
            }
            none => {
                let probe = self.trainer.probe_async().await?.batch(1);
                none.insert(probe.values(LOOKED_AT).on_async(&self.gpu).await?)
            }
        };
        Ok(probe.look_async(image).await?.value(name)?.to_vec())
    }

    /// The filters of the first convolution, `(32, 5, 5)`.
    pub async fn filters(&self) -> Result<Vec<f32>> {
        self.trainer.parameter_async(FILTERS).await
    }

    /// Sets the learning rate of the updates from now on.
    pub fn set_rate(&mut self, rate: f64) -> Result<()> {
        self.trainer.set_learning_rate(rate)
    }

    /// Trains on batches of another size from now on, from the beginning of the epoch.
    pub async fn set_batch(&mut self, batch: usize) -> Result<()> {
        let loader = loader(&self.train, batch)?;
        self.trainer
            .rebuild_async(|builder| builder.batch(batch))
            .await?;
        self.batches = loader.epoch(self.epoch);
        (self.loader, self.batch) = (loader, batch);
        Ok(())
    }

    /// The weights as a safetensors file, under the names that PyTorch gives them.
    pub async fn weights(&self) -> Result<Vec<u8>> {
        self.trainer.weights_bytes_async(&SaveOptions::new()).await
    }

    /// Takes the weights of such a file.
    pub async fn load(&mut self, bytes: Vec<u8>) -> Result<LoadReport> {
        self.trainer.load_async(Weights::bytes(bytes)).await
    }

    /// All that the training has come to.
    pub async fn checkpoint(&mut self) -> Result<Vec<u8>> {
        self.trainer.set_data_place(self.loader.place());
        self.trainer.checkpoint_bytes_async().await
    }

    /// A test image, 28 x 28 pixels from 0 to 1, and its class.
    pub fn test_image(&self, index: usize) -> Option<(Vec<f32>, usize)> {
        let example = self.test.get(index).ok()?;
        let Target::Labels(labels) = &example.target else {
            return None;
        };
        Some((example.input.to_floats(), *labels.first()? as usize))
    }
}
