//! From files to batches: images and their classes, what happens to them, and in which order.
//!
//! ```no_run
//! use wgpu_cnn::data::{IMAGENET, ImageFolder, Loader, Transforms};
//! # use wgpu_cnn::{Model, Trainer};
//! # let model = Model::builder([3, 224, 224]).flatten().dense(2).build()?;
//! # let mut trainer = Trainer::builder(model).on_cpu()?;
//! let photos = ImageFolder::open("photos/train")?; // one folder a class
//! let augment = Transforms::new().random_resized_crop(224).flip(0.5).normalise(IMAGENET);
//! let loader = Loader::builder(photos)
//!     .transforms(augment)
//!     .batch(32).shuffle(true).seed(7)
//!     .workers(2) // threads that decode ahead
//!     .build()?;
//! for epoch in 0..10 {
//!     for batch in loader.epoch(epoch) {
//!         let batch = batch?;
//!         trainer.step(&batch.images, batch.targets)?;
//!     }
//! }
//! # Ok::<(), wgpu_cnn::Error>(())
//! ```
//!
//! * A [`Dataset`] gives examples by number: an [`ImageFolder`], or [`Memory`] with what IDX, CIFAR and NumPy files
//!   hold, or one of your own.
//! * [`Transforms`] are resizing, cropping, flipping and normalising, as torchvision does it.
//! * A [`Loader`] makes batches of them, in a random order, ahead on threads. Every random choice follows from seed,
//!   epoch and index ([`Random`]): any number of threads gives the same pixels, and so does a run that is
//!   [resumed](Loader::resume).
//!
//! The [guide](crate::guide::data) has more.

#[cfg(feature = "native")]
mod ahead;
mod array;
mod builder;
mod cifar;
mod dataset;
mod folder;
mod geometry;
mod idx;
mod image;
mod loader;
mod memory;
mod mix;
mod npy;
mod place;
mod random;
mod resize;
mod task;
mod transform;

pub use array::{Array, Values};
pub use builder::LoaderBuilder;
pub use dataset::{Dataset, Example};
pub use folder::ImageFolder;
pub use image::Colour;
pub use loader::{Epoch, Loader};
pub use memory::{Memory, Split};
pub use place::Place;
pub use random::Random;
pub use task::Batch;
pub use transform::{IMAGENET, ImageSize, Transforms};
