//! Devices that were made with lower limits than the kernels need: a model trains there as anywhere, or
//! is refused by the limit's name before anything runs.

use wgpu_cnn::{
    Conv2d, Dropout, Error, Gpu, LayerNorm, Loss, Model, Optimizer, Target, Tensor, Trainer,
    TrainerBuilder, ops, wgpu,
};

use super::{foreign_adapter, model};
use crate::common::{assert_error, labels, plain_gpu, random, tensor, uniform};

/// Sets a limit.
type Set = fn(&mut wgpu::Limits, u64);

/// A row of the table below.
macro_rules! limit {
    ($name:ident: $values:expr) => {
        (
            stringify!($name),
            (|limits, value| limits.$name = value.try_into().unwrap()) as Set,
            &$values,
        )
    };
}

/// Every limit that a kernel or a buffer meets, with values below what is needed and above.
const LIMITS: [(&str, Set, &[u64]); 16] = [
    limit!(max_bind_groups: [0, 1]),
    limit!(max_bindings_per_bind_group: [0, 2, 4, 7, 10]),
    limit!(max_storage_buffers_per_shader_stage: [0, 7, 8]),
    limit!(max_uniform_buffers_per_shader_stage: [0, 1]),
    limit!(max_buffers_and_acceleration_structures_per_shader_stage: [0, 3, 5, 8]),
    limit!(max_uniform_buffer_binding_size: [0, 32, 48, 128]),
    limit!(max_storage_buffer_binding_size: [0, 16, 255, 256, 2048, 8192]),
    limit!(max_buffer_size: [0, 8, 2047, 2048, 4096, 16384, 65536]),
    limit!(max_compute_workgroup_storage_size: [0, 9983, 9984]),
    limit!(max_compute_invocations_per_workgroup: [0, 64, 255, 256]),
    limit!(max_compute_workgroup_size_x: [0, 64, 255, 256]),
    limit!(max_compute_workgroup_size_y: [0, 1]),
    limit!(max_compute_workgroup_size_z: [0, 1]),
    limit!(max_compute_workgroups_per_dimension: [0, 1, 4, 8, 12, 32]),
    limit!(min_storage_buffer_offset_alignment: [512, 4096]),
    limit!(min_uniform_buffer_offset_alignment: [512, 4096]),
];

/// What is trained: many kinds of kernels with the options that bring some of their own, and the
/// smallest network there is.
fn builders() -> [(TrainerBuilder, Target); 2] {
    let network = Model::builder([2, 9, 9])
        .conv2d(8, 3)
        .batch_norm()
        .relu()
        .residual(|block| {
            block
                .push(Conv2d::new(8, 3).padding(1))
                .push(LayerNorm::new())
        })
        .max_pool2d(2)
        .push(Dropout::new(0.25))
        .flatten()
        .dense(5);
    let small = Model::builder([3]).dense(2);
    let classes = Trainer::builder(network.build().unwrap())
        .batch(4)
        .optimizer(Optimizer::sgd(0.05).momentum(0.9))
        .clip_norm(1.0)
        .accumulate(2);
    let values = Trainer::builder(small.build().unwrap())
        .batch(4)
        .loss(Loss::mean_squared_error())
        .optimizer(Optimizer::sgd(0.1));
    let labels = labels(&mut random(3), 4, 5);
    [
        (classes, Target::Labels(labels)),
        (values, Target::Values(vec![0.5; 8])),
    ]
}

/// The losses of a training, and a prediction after it.
fn train(trainer: &mut Trainer, target: &Target) -> Result<Vec<f32>, Error> {
    let x = uniform(&mut random(4), 4 * trainer.model().input_shape().len());
    let mut seen = vec![];
    for _ in 0..4 {
        trainer.step(&x, target.clone())?;
        seen.push(trainer.loss()?);
    }
    seen.extend(trainer.predict(&x)?);
    Ok(seen)
}

#[track_caller]
fn assert_limit(error: &Error, name: &str, run: &str) {
    let Error::Limit {
        limit,
        what,
        needed,
        available,
    } = error
    else {
        panic!("{run}: {error:?}");
    };
    // A binding is at most as large as its buffer, and a parameter is refused as a binding.
    let within = name == "max_buffer_size" && *limit == "max_storage_buffer_binding_size";
    assert!(*limit == name || within, "{run}: {error}");
    let short = match name.starts_with("min") {
        true => needed < available,
        false => needed > available,
    };
    assert!(short && !what.is_empty(), "{run}: {error}");
}

#[test]
fn a_model_trains_or_is_refused_by_the_name_of_the_limit() {
    let Some(plain) = plain_gpu() else { return };
    let expected = builders()
        .map(|(builder, target)| train(&mut builder.on(plain).unwrap(), &target).unwrap());
    let (mut trained, mut refused) = (0, 0);
    let runs = LIMITS.iter();
    let runs =
        runs.flat_map(|(name, set, values)| values.iter().map(move |value| (name, set, *value)));
    for (name, set, value) in runs {
        let mut limits = plain.limits().clone();
        set(&mut limits, value);
        let run = format!("{name} of {value}");
        let made = Gpu::builder().limits(limits).poison(value % 4 == 0).build();
        let gpu = match made {
            Ok(gpu) => gpu,
            Err(error) => {
                assert_limit(&error, name, &run);
                continue;
            }
        };
        for ((builder, target), expected) in builders().into_iter().zip(&expected) {
            match builder.on(&gpu) {
                Err(error) => {
                    assert_limit(&error, name, &run);
                    refused += 1;
                }
                Ok(mut trainer) => {
                    let seen = train(&mut trainer, &target);
                    let seen = seen.unwrap_or_else(|error| panic!("{run}: {error}"));
                    for (seen, expected) in seen.iter().zip(expected) {
                        let close = (seen - expected).abs() < 1e-4;
                        assert!(close, "{run}: {seen}, not {expected}");
                    }
                    trained += 1;
                }
            }
        }
        if let Err(error) = single_operations(&gpu) {
            assert_limit(&error, name, &run);
        }
    }
    let both = trained > 30 && refused > 40;
    assert!(both, "{trained} trained, {refused} refused");
}

fn single_operations(gpu: &Gpu) -> Result<(), Error> {
    let x = Tensor::from_slice(gpu, [4, 3], &[0.5; 12])?;
    ops::matmul(&x, false, &x, true)?.to_vec()?;
    ops::add(&x, &x)?.to_vec()?;
    Ok(())
}

#[test]
fn the_layer_at_fault_is_named() {
    let Some(plain) = plain_gpu() else { return };
    let build = |change: fn(&mut wgpu::Limits)| {
        let mut limits = plain.limits().clone();
        change(&mut limits);
        Gpu::builder().limits(limits).build().unwrap()
    };
    let wide = || {
        let wide = Model::builder([2]).dense(4).relu().dense(5000).build();
        Trainer::builder(wide.unwrap()).batch(2)
    };
    let few = build(|limits| limits.max_compute_workgroups_per_dimension = 20);
    let says = ["layer 2 (linear)", "max_compute_workgroups_per_dimension"];
    assert_error(wide().on(&few), "limit", &says);
    let small = build(|limits| limits.max_storage_buffer_binding_size = 16384);
    let says = [
        "max_storage_buffer_binding_size",
        "layer 2 (linear)",
        "2.bias",
    ];
    assert_error(wide().on(&small), "limit", &says);
    let narrow = build(|limits| limits.max_bindings_per_bind_group = 2);
    let says = [
        "layer 0 (linear)",
        "max_bindings_per_bind_group",
        "the device has 2",
    ];
    assert_error(wide().on(&narrow), "limit", &says);
    let bare = build(|limits| limits.max_bind_groups = 0);
    assert_error(wide().on(&bare), "limit", &["layer 0", "max_bind_groups"]);
}

#[test]
fn a_device_of_the_users_own_is_refused_where_it_has_no_room_for_anything() {
    let Some((adapter, info)) = foreign_adapter() else {
        return;
    };
    for max_buffer_size in [0, 1, 8, 255, 1024, 2047, 2048] {
        let descriptor = wgpu::DeviceDescriptor {
            required_limits: wgpu::Limits {
                max_buffer_size,
                ..Default::default()
            },
            ..Default::default()
        };
        let device = pollster::block_on(adapter.request_device(&descriptor));
        let (device, queue) = device.unwrap();
        let taken = Gpu::from_wgpu(info.clone(), device, queue);
        match max_buffer_size {
            2048 => {
                let x = tensor(&taken.unwrap(), [3], &[1.0, 2.0, 3.0]);
                let sum = ops::add(&x, &x).unwrap().to_vec().unwrap();
                assert_eq!(sum, [2.0, 4.0, 6.0]);
            }
            _ => assert_error(taken, "limit", &["max_buffer_size of 2048"]),
        }
    }
}

#[test]
fn a_device_too_small_for_the_kernels_is_refused_by_name() {
    let Some(gpu) = plain_gpu() else { return };
    let limits = || gpu.limits().clone();
    let devices = [
        wgpu::Limits {
            max_compute_invocations_per_workgroup: 128,
            ..limits()
        },
        wgpu::Limits {
            max_compute_workgroup_storage_size: 4096,
            ..limits()
        },
        wgpu::Limits {
            max_storage_buffers_per_shader_stage: 4,
            ..limits()
        },
    ];
    let names = [
        "max_compute_invocations_per_workgroup of 256, the device has 128",
        "max_compute_workgroup_storage_size of 16384, the device has 4096",
        "max_storage_buffers_per_shader_stage of 8, the device has 4",
    ];
    for (limits, name) in devices.into_iter().zip(names) {
        let gpu = Gpu::builder().limits(limits).build().unwrap();
        assert_error(Trainer::builder(model()).on(&gpu), "limit", &[name]);
        let x = tensor(&gpu, [2], &[1.0, 2.0]);
        assert_error(ops::add(&x, &x), "limit", &[name]);
    }
}
