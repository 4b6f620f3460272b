//! What JavaScript calls. Each asynchronous call must have come to its end before the next one begins: the page has a
//! queue of them.

use js_sys::{Float32Array, Float64Array, Function, Uint8Array};
use wasm_bindgen::prelude::*;
use wgpu_cnn::data::{Array, Memory};
use wgpu_cnn::{Error, Gpu, Result};

use crate::session::{CLASSES, IMAGE, LOSS, Session, Start};

/// A training, for the page.
#[wasm_bindgen]
pub struct Page(Session);

fn told(error: Error) -> JsError {
    JsError::new(&error.to_string())
}

fn start(batch: usize, rate: f64, checkpoint: Option<Vec<u8>>) -> Start {
    Start {
        batch,
        rate,
        checkpoint,
    }
}

/// Images from their pixels and their classes.
fn images([pixels, classes]: [Vec<u8>; 2]) -> Result<Memory> {
    let [_, height, width] = IMAGE;
    let count = pixels.len() / (height * width);
    Memory::new(Array::new([count, 1, height, width], pixels)?, classes)
}

/// Panics are defects: the console tells of them with what they say.
#[wasm_bindgen(start)]
pub fn begin() {
    console_error_panic_hook::set_once();
}

/// What the classes are called, by their numbers.
#[wasm_bindgen]
pub fn classes() -> Vec<String> {
    CLASSES.map(String::from).into()
}

#[wasm_bindgen]
impl Page {
    /// Finds a device and makes a training on it. `files` are the pixels and classes for training and those for tests,
    /// a byte for each; `compiled` is called with the pipelines that are there and all of them.
    pub async fn open(
        files: Vec<Uint8Array>,
        batch: usize,
        rate: f64,
        checkpoint: Option<Vec<u8>>,
        compiled: Function,
    ) -> std::result::Result<Page, JsError> {
        let mut files = files.iter().map(Uint8Array::to_vec);
        let mut next = || files.next().unwrap_or_default();
        let (train, test) = ([next(), next()], [next(), next()]);
        let make = async {
            let gpu = Gpu::new_async().await?;
            gpu.on_compiled(move |done, all| {
                // What a page does with it is not ours to judge.
                let _ = compiled.call2(&JsValue::NULL, &done.into(), &all.into());
            });
            let (train, test) = (images(train)?, images(test)?);
            Session::new(gpu, train, test, start(batch, rate, checkpoint)).await
        };
        make.await.map(Self).map_err(told)
    }

    /// Starts anew, or from a checkpoint.
    pub async fn restart(
        &mut self,
        batch: usize,
        rate: f64,
        checkpoint: Option<Vec<u8>>,
    ) -> std::result::Result<(), JsError> {
        let begun = self.0.restart(start(batch, rate, checkpoint)).await;
        begun.map_err(told)
    }

    /// The adapter, as far as the browser tells, and whether it is a software driver.
    pub fn adapter(&self) -> String {
        let info = self.0.gpu().info();
        let software = info.device_type == wgpu_cnn::wgpu::DeviceType::Cpu;
        let name = if info.name.is_empty() {
            "WebGPU"
        } else {
            &info.name
        };
        format!(
            "{name}{}",
            if software { ", a software driver" } else { "" }
        )
    }

    /// Bytes of device memory that the training takes.
    pub fn memory(&self) -> f64 {
        let memory = self.0.trainer().memory();
        memory.map_or(0.0, |memory| memory.total() as f64)
    }

    /// Updates so far.
    pub fn updates(&self) -> f64 {
        self.0.trainer().updates() as f64
    }

    /// The epoch of the last batch, from 0.
    pub fn epoch(&self) -> f64 {
        self.0.epoch() as f64
    }

    /// Images of an epoch.
    pub fn examples(&self) -> usize {
        self.0.examples()
    }

    /// Images of a step.
    pub fn batch(&self) -> usize {
        self.0.batch()
    }

    /// The learning rate of the next update.
    pub fn rate(&self) -> f64 {
        self.0.trainer().learning_rate()
    }

    /// Trains on the next batch. Whether it was the last of its epoch.
    pub async fn step(&mut self) -> std::result::Result<bool, JsError> {
        self.0.step().await.map_err(told)
    }

    /// The loss of the last step, which is recorded.
    pub async fn loss(&mut self) -> std::result::Result<f32, JsError> {
        self.0.loss().await.map_err(told)
    }

    /// The losses that were recorded: update, loss, update, loss.
    pub fn losses(&self) -> Float64Array {
        self.curve(LOSS)
    }

    /// What the test images have given, likewise: `test loss` or `test accuracy`.
    pub fn curve(&self, name: &str) -> Float64Array {
        let points = self.0.curve(name).into_iter();
        let points: Vec<f64> = points
            .flat_map(|(update, value)| [update as f64, value])
            .collect();
        Float64Array::from(&points[..])
    }

    /// The loss and the accuracy on the test images, then how often each class was taken for each, row by row.
    pub async fn test(&mut self) -> std::result::Result<Float64Array, JsError> {
        let tested = self.0.test().await.map_err(told)?;
        let mut values = vec![tested.loss, tested.accuracy];
        values.extend(tested.confusion.iter().map(|&count| count as f64));
        Ok(Float64Array::from(&values[..]))
    }

    /// The probability of each class for an image.
    pub async fn classify(
        &mut self,
        image: Vec<f32>,
    ) -> std::result::Result<Float32Array, JsError> {
        floats(self.0.classify(&image).await)
    }

    /// The maps of an image behind the first or the second convolution.
    pub async fn maps(
        &mut self,
        image: Vec<f32>,
        convolution: usize,
    ) -> std::result::Result<Float32Array, JsError> {
        floats(self.0.maps(&image, convolution).await)
    }

    /// The filters of the first convolution.
    pub async fn filters(&mut self) -> std::result::Result<Float32Array, JsError> {
        floats(self.0.filters().await)
    }

    /// Sets the learning rate of the updates from now on.
    pub fn set_rate(&mut self, rate: f64) -> std::result::Result<(), JsError> {
        self.0.set_rate(rate).map_err(told)
    }

    /// Trains on batches of another size from now on.
    pub async fn set_batch(&mut self, batch: usize) -> std::result::Result<(), JsError> {
        self.0.set_batch(batch).await.map_err(told)
    }

    /// The weights as a safetensors file.
    pub async fn weights(&mut self) -> std::result::Result<Uint8Array, JsError> {
        bytes(self.0.weights().await)
    }

    /// Takes the weights of such a file, and says how many tensors it had.
    pub async fn load(&mut self, file: Vec<u8>) -> std::result::Result<usize, JsError> {
        let report = self.0.load(file).await.map_err(told)?;
        Ok(report.loaded.len())
    }

    /// All that the training has come to.
    pub async fn checkpoint(&mut self) -> std::result::Result<Uint8Array, JsError> {
        bytes(self.0.checkpoint().await)
    }

    /// The pixels of a test image, from 0 to 1, and after them its class.
    pub fn test_image(&self, index: usize) -> Option<Float32Array> {
        let (mut pixels, class) = self.0.test_image(index)?;
        pixels.push(class as f32);
        Some(Float32Array::from(&pixels[..]))
    }
}

fn floats(values: Result<Vec<f32>>) -> std::result::Result<Float32Array, JsError> {
    values
        .map(|values| Float32Array::from(&values[..]))
        .map_err(told)
}

fn bytes(values: Result<Vec<u8>>) -> std::result::Result<Uint8Array, JsError> {
    values
        .map(|values| Uint8Array::from(&values[..]))
        .map_err(told)
}
