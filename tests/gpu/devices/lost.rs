//! A lost device is an error of every call.

use std::sync::mpsc;
use std::time::Duration;

use wgpu_cnn::{Error, Gpu, Optimizer, Tensor, Trainer, ops};

use super::{foreign_device, model};
use crate::common::{plain_gpu, tensor};

/// What a program has on a device.
struct Rig {
    gpu: Gpu,
    trainer: Trainer,
    /// With a batch that waits for an update, and with none.
    sums: [Trainer; 2],
    there: Tensor,
    /// Its weights.
    file: String,
}

const X: [f32; 4 * 36] = [0.5; 4 * 36];
const Y: [u8; 4] = [0, 1, 2, 0];

impl Rig {
    fn new(gpu: Gpu, in_flight: usize) -> Self {
        let builder = || Trainer::builder(model()).batch(4).in_flight(in_flight);
        let builder = || builder().optimizer(Optimizer::sgd(0.1));
        let mut trainer = builder().on(&gpu).unwrap();
        trainer.step(&X, &Y).unwrap();
        let sums = [1, 2].map(|steps| {
            let mut trainer = builder().accumulate(2).on(&gpu).unwrap();
            for _ in 0..steps {
                trainer.step(&X, &Y).unwrap();
            }
            trainer
        });
        let file = temporary("lost.safetensors");
        trainer.save(&file).unwrap();
        let there = tensor(&gpu, [4], &[1.0; 4]);
        Self {
            gpu,
            trainer,
            sums,
            there,
            file,
        }
    }
}

pub fn temporary(name: &str) -> String {
    let name = format!("wgpu-cnn-{}-{name}", std::process::id());
    std::env::temp_dir().join(name).display().to_string()
}

type Call = fn(&mut Rig) -> Result<(), Error>;

/// Every call that asks something of a device.
const CALLS: [(&str, Call); 22] = [
    ("step", |rig| rig.trainer.step(&X, &Y)),
    ("a smaller step", |rig| rig.trainer.step(&X[..36], &[1u8])),
    ("a step of a sum", |rig| rig.sums[0].step(&X, &Y)),
    ("update", |rig| rig.sums[0].update()),
    ("update of nothing", |rig| rig.sums[1].update()),
    ("update without sums", |rig| rig.trainer.update()),
    ("loss", |rig| rig.trainer.loss().map(drop)),
    ("predict", |rig| rig.trainer.predict(&X).map(drop)),
    ("parameter", |rig| {
        rig.trainer.parameter("0.weight").map(drop)
    }),
    ("set_parameter", |rig| {
        rig.trainer.set_parameter("3.bias", &[0.0; 3])
    }),
    ("gradient", |rig| rig.trainer.gradient("0.weight").map(drop)),
    ("save", |rig| {
        rig.trainer.save(temporary("never.safetensors"))
    }),
    ("load", |rig| {
        let file = rig.file.clone();
        rig.trainer.load(file).map(drop)
    }),
    ("profile", |rig| rig.trainer.profile(&X, &Y).map(drop)),
    ("verify", |rig| rig.trainer.verify().map(drop)),
    ("verify of a device", |rig| {
        rig.gpu.verify(&model(), 2).map(drop)
    }),
    ("peaks", |rig| rig.gpu.peaks().map(drop)),
    ("a new trainer", |rig| {
        Trainer::builder(model()).on(&rig.gpu).map(drop)
    }),
    ("a tuned trainer", |rig| {
        let builder = Trainer::builder(model()).autotune_file(temporary("lost.json"));
        builder.on(&rig.gpu).map(drop)
    }),
    ("an operation", |rig| {
        ops::add(&rig.there, &rig.there).map(drop)
    }),
    ("a tensor written", |rig| {
        Tensor::from_slice(&rig.gpu, [4], &[1.0f32; 4]).map(drop)
    }),
    ("a tensor read", |rig| rig.there.to_vec().map(drop)),
];

/// A device of this crate's making, or of the program's.
pub fn device(own: bool) -> Gpu {
    if own {
        return Gpu::new().unwrap();
    }
    let (info, device, queue) = foreign_device().unwrap();
    Gpu::from_wgpu(info, device, queue).unwrap()
}

/// Runs a test that must come to its end, whatever becomes of its device.
pub fn within_minutes(test: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    let ended = wait.recv_timeout(Duration::from_secs(600));
    assert_ne!(ended, Err(mpsc::RecvTimeoutError::Timeout), "a call hangs");
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[track_caller]
fn assert_lost(result: Result<(), Error>, what: &str) {
    let lost = matches!(result, Err(Error::DeviceLost { .. }));
    assert!(lost, "{what}: {result:?}");
}

#[test]
fn every_call_says_so_from_the_first_one_on() {
    if plain_gpu().is_none() {
        return;
    }
    within_minutes(|| {
        let own = (0..CALLS.len()).step_by(3).map(|first| (true, first));
        let theirs = (0..CALLS.len()).map(|first| (false, first));
        for (own, first) in own.chain(theirs) {
            // Each call is the first after the loss, at another step of a run.
            let (in_flight, steps) = (first % 3 + 1, first / 3);
            let mut rig = Rig::new(device(own), in_flight);
            for _ in 0..steps {
                rig.trainer.step(&X, &Y).unwrap();
            }
            rig.gpu.device().destroy();
            for at in 0..2 * CALLS.len() {
                let (name, call) = CALLS[(first + at) % CALLS.len()];
                let run = format!("own {own}, {in_flight} in flight, {steps} steps");
                assert_lost(call(&mut rig), &format!("{name} as number {at}, {run}"));
            }
            // What is checked before the device is asked stays as it is.
            let refused = rig.trainer.step(&X[1..], &Y);
            assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
        }
    });
}

#[test]
fn at_any_moment_of_a_step_nothing_hangs_and_no_other_error_is_seen() {
    if plain_gpu().is_none() {
        return;
    }
    within_minutes(|| {
        for (own, in_flight) in [(true, 1), (true, 3), (false, 1), (false, 2)] {
            for delay in 0..5 {
                let mut rig = Rig::new(device(own), in_flight);
                let lost = rig.gpu.device().clone();
                let other = std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_micros(700 * delay));
                    lost.destroy();
                });
                let mut step = || rig.trainer.step(&X, &Y);
                let mut steps = std::iter::repeat_with(&mut step);
                let error = steps.find_map(Result::err).unwrap();
                other.join().unwrap();
                assert_lost(Err(error), "step");
                for (name, call) in CALLS {
                    assert_lost(call(&mut rig), name);
                }
            }
        }
    });
}

#[test]
fn a_device_that_is_lost_already_is_not_taken() {
    let Some((info, device, queue)) = foreign_device() else {
        return;
    };
    device.destroy();
    let taken = Gpu::from_wgpu(info, device, queue).map(drop);
    assert_lost(taken, "from_wgpu");
}
