//! Starting: pipelines compiled on several threads, and kept in a file.

use std::fs;
use std::path::PathBuf;

use wgpu_cnn::{Gpu, Model, Trainer, wgpu};

use crate::common::{plain_gpu, random, state, uniform};

fn model() -> Model {
    #[rustfmt::skip]
    let model = Model::builder([1, 10, 10])
        .conv2d(8, 3).relu().max_pool2d(2)
        .conv2d(8, 3).tanh()
        .flatten().dense(7).relu().dense(3);
    model.build().unwrap()
}

/// The bits after two steps.
fn bits_on(gpu: &Gpu) -> Vec<Vec<u32>> {
    let mut trainer = Trainer::builder(model()).batch(4).seed(3).on(gpu).unwrap();
    let x = uniform(&mut random(51), 400);
    for _ in 0..2 {
        trainer.step(&x, &[0u8, 1, 2, 0]).unwrap();
    }
    state(&trainer)
}

/// A folder that is removed afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("wgpu-cnn-startup-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn gpu(&self) -> Gpu {
        Gpu::builder().pipeline_cache(&self.0).build().unwrap()
    }

    /// The only file in it.
    fn file(&self) -> PathBuf {
        let files: Vec<_> = fs::read_dir(&self.0).unwrap().collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.into_iter().next().unwrap().unwrap().path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0).or_else(|_| fs::remove_file(&self.0));
    }
}

#[test]
fn a_pipeline_cache_is_written_read_and_replaced_where_it_is_damaged() {
    let Some(plain) = plain_gpu() else { return };
    let expected = bits_on(plain);
    let folder = Folder::new("cache");
    let gpu = folder.gpu();
    assert_eq!(bits_on(&gpu), expected);
    if !gpu
        .device()
        .features()
        .contains(wgpu::Features::PIPELINE_CACHE)
    {
        assert!(!folder.0.exists(), "a folder for nothing");
        return;
    }
    let file = folder.file();
    let written = fs::read(&file).unwrap();
    let name = wgpu::util::pipeline_cache_key(gpu.info()).unwrap();
    assert_eq!(file.file_name().unwrap().to_str(), Some(name.as_str()));

    let mut foreign = written.clone();
    foreign[17] ^= 0xff; // in the key of the adapter
    let mut garbage = written.clone();
    garbage.iter_mut().for_each(|byte| *byte = !*byte);
    let half = written[..written.len() / 2].to_vec();
    let mut flipped = written.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for contents in [written.clone(), vec![], half, foreign, garbage, flipped] {
        fs::write(&file, &contents).unwrap();
        assert_eq!(bits_on(&folder.gpu()), expected);
        let replaced = fs::read(folder.file()).unwrap();
        // After the checksum; what a driver has to say may differ from time to time, but wgpu's header
        // does not.
        assert_eq!(replaced[8..40], written[8..40]);
    }
}

#[test]
fn a_pipeline_cache_that_cannot_be_written_is_no_error() {
    let Some(plain) = plain_gpu() else { return };
    let taken = Folder::new("taken");
    fs::write(&taken.0, "a file where the folder should be").unwrap();
    assert_eq!(bits_on(&taken.gpu()), bits_on(plain));
    assert!(taken.0.is_file());
}

#[test]
fn several_threads_start_on_one_device() {
    let Some(plain) = plain_gpu() else { return };
    let expected = bits_on(plain);
    let gpu = Gpu::new().unwrap();
    std::thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(|| bits_on(&gpu)));
        for thread in threads {
            assert_eq!(thread.join().unwrap(), expected);
        }
    });
}
