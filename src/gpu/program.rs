//! A recording made runnable: its buffers, bind groups and pipelines on a device.

use std::num::NonZeroU64;
use std::ops::Range;

use wgpu::BufferBinding;

use super::kernel::{ARGUMENT, Access};
use super::pipelines::Request;
use super::record::{BufferId, Dispatch, Recording, Region, Storage};
use super::verdict::Verdicts;
use super::{Buffer, Gpu};
use crate::Result;

/// A compiled recording. Running it creates nothing.
pub(crate) struct Program {
    stages: Vec<Stage>,
    /// The buffer of each buffer of the recording that has one.
    buffers: Vec<Option<Buffer>>,
    /// The params of all dispatches.
    uniforms: Buffer,
    /// Where each dispatch's params begin in `uniforms`.
    offsets: Vec<u64>,
}

struct Stage {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
}

impl Program {
    /// Allocates what the recording needs and compiles its kernels.
    pub async fn compile(gpu: &Gpu, recording: &Recording) -> Result<Self> {
        gpu.check_limits(recording)?;
        let assignment = recording.assign();
        let (mut physical, mut verdicts) = (Vec::new(), Verdicts::of(gpu));
        for (slot, &size) in assignment.sizes.iter().enumerate() {
            let tenant = assignment.slots.iter().position(|&s| s == Some(slot));
            let label = tenant.map_or("", |id| recording.buffers[id].label.as_str());
            physical.push(gpu.memory(&mut verdicts, label, size)?);
        }
        let buffers: Vec<Option<Buffer>> = (recording.buffers.iter().zip(&assignment.slots))
            .map(|(info, slot)| match &info.storage {
                Storage::Bound(buffer) => Some(buffer.clone()),
                Storage::Persistent | Storage::Transient | Storage::Constant(_) => {
                    slot.map(|slot| physical[slot].clone())
                }
            })
            .collect();

        for (info, buffer) in recording.buffers.iter().zip(&buffers) {
            if let (Storage::Constant(values), Some(buffer)) = (&info.storage, buffer) {
                let bytes = bytemuck::cast_slice(values);
                let write = || gpu.queue().write_buffer(buffer, gpu.margin(), bytes);
                verdicts.guard("upload", 0, write)?;
            }
        }

        let alignment = recording.traits.uniform_alignment;
        let mut offsets = Vec::new();
        let mut size = 0;
        for dispatch in &recording.dispatches {
            offsets.push(size);
            size += (dispatch.params.len() as u64).next_multiple_of(alignment);
        }
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniforms = gpu.buffer("params", size.max(alignment), usage).await?;

        // What there is no memory for is told as that, and not as bind groups that cannot be made.
        verdicts.known().await?;
        let (mut made, mut verdicts) = (Vec::new(), Verdicts::of(gpu));
        for (dispatch, &offset) in recording.dispatches.iter().zip(&offsets) {
            let what = dispatch.what();
            let create = || bind_group(gpu, dispatch, &buffers, &uniforms, offset);
            let bind_group = verdicts.guard(&*what, 0, create)?;
            made.push((what, bind_group));
        }
        verdicts.known().await?;
        let requests = recording.dispatches.iter().zip(&made);
        let requests: Vec<Request> = requests
            .map(|(dispatch, (what, bind_group))| Request {
                dispatch,
                what,
                bind_group,
            })
            .collect();
        let pipelines = gpu.pipelines(&requests).await?;
        let stages = pipelines.into_iter().zip(made);
        let stages = stages
            .map(|(pipeline, (_, bind_group))| Stage {
                pipeline,
                bind_group,
            })
            .collect();
        Ok(Self {
            stages,
            buffers,
            uniforms,
            offsets,
        })
    }

    /// The params of all dispatches as one block, in the layout of [`uniforms`](Self::uniforms).
    pub fn params_block(&self, dispatches: &[Dispatch]) -> Vec<u8> {
        let mut block = vec![0; self.uniforms.size() as usize];
        for (dispatch, &offset) in dispatches.iter().zip(&self.offsets) {
            let offset = offset as usize;
            block[offset..offset + dispatch.params.len()].copy_from_slice(&dispatch.params);
        }
        block
    }

    /// Where a dispatch's params begin in the block.
    pub fn params_offset(&self, dispatch: usize) -> usize {
        self.offsets[dispatch] as usize
    }

    /// The buffer that the params block is copied to before a run.
    pub fn uniforms(&self) -> &Buffer {
        &self.uniforms
    }

    /// Looks for stray writes, on a poisoned device.
    pub async fn check_margins(&self, gpu: &Gpu) -> Result<()> {
        gpu.check_margins(self.buffers.iter().flatten()).await
    }

    /// The buffer that a buffer of the recording became; its contents begin at the device's margin.
    pub fn buffer(&self, id: BufferId) -> Option<&Buffer> {
        self.buffers[id.0].as_ref()
    }

    /// Encodes ranges of the dispatches, with the grids of `dispatches`, as one compute pass.
    pub fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        dispatches: &[Dispatch],
        ranges: &[Range<usize>],
    ) {
        self.encode_as(&Default::default(), encoder, dispatches, ranges);
    }

    /// [`encode`](Self::encode) with a label or timestamps for the pass.
    pub fn encode_as(
        &self,
        descriptor: &wgpu::ComputePassDescriptor,
        encoder: &mut wgpu::CommandEncoder,
        dispatches: &[Dispatch],
        ranges: &[Range<usize>],
    ) {
        let mut pass = encoder.begin_compute_pass(descriptor);
        for at in ranges.iter().cloned().flatten() {
            let (stage, [x, y, z]) = (&self.stages[at], dispatches[at].workgroups);
            pass.set_pipeline(&stage.pipeline);
            pass.set_bind_group(0, &stage.bind_group, &[]);
            pass.dispatch_workgroups(x, y, z);
        }
    }
}

fn bind_group(
    gpu: &Gpu,
    dispatch: &Dispatch,
    buffers: &[Option<Buffer>],
    uniforms: &Buffer,
    offset: u64,
) -> wgpu::BindGroup {
    let present = |region: &Region| {
        let (buffer, size) = (
            buffers[region.buffer.0].as_ref()?,
            NonZeroU64::new(region.size),
        );
        Some(BufferBinding {
            buffer,
            offset: gpu.margin() + region.offset,
            size,
        })
    };
    let storage = dispatch
        .bindings
        .iter()
        .zip(dispatch.kernel.bindings)
        .enumerate();
    let storage = storage.map(|(binding, (region, &access))| {
        let bound = region.as_ref().and_then(present);
        bound.unwrap_or_else(|| gpu.dummy(access, binding))
    });
    let size = NonZeroU64::new(dispatch.kernel.params_size());
    let params = BufferBinding {
        buffer: uniforms,
        offset,
        size,
    };
    let argument = dispatch.argument.as_ref().map(|region| {
        let access = Access::ReadWrite;
        let bound = present(region).unwrap_or_else(|| gpu.dummy(access, ARGUMENT as usize));
        (ARGUMENT, bound)
    });
    let entries: Vec<wgpu::BindGroupEntry> = (0..)
        .zip(storage.chain([params]))
        .chain(argument)
        .map(|(binding, bound)| {
            let resource = wgpu::BindingResource::Buffer(bound);
            wgpu::BindGroupEntry { binding, resource }
        })
        .collect();
    gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(&dispatch.label),
        layout: &gpu.layouts(dispatch).bind_group,
        entries: &entries,
    })
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use super::*;
    use crate::gpu::kernel::Kernel;
    use crate::gpu::kernels::broadcast;
    use crate::{Loss, Model, Optimizer};

    fn poisoned() -> Option<Gpu> {
        crate::device::device(Gpu::builder().poison(true))
    }

    /// A step with statistics, clipping, micro-batches and an optimizer with state.
    fn recording(gpu: &Gpu) -> Recording {
        let model = Model::builder([2, 9, 9])
            .conv2d(4, 3)
            .batch_norm()
            .relu()
            .max_pool2d(2)
            .dropout(0.5)
            .flatten()
            .dense(5)
            .build()
            .unwrap();
        let (loss, optimizer) = (Loss::default(), Optimizer::adam(0.1).into());
        crate::engine::record(&model, &loss, &optimizer, 4, false, gpu.traits()).unwrap()
    }

    #[test]
    fn compiling_changes_no_memory() {
        let Some(gpu) = poisoned() else { return };
        pollster::block_on(async {
            let program = Program::compile(&gpu, &recording(&gpu)).await.unwrap();
            for buffer in program.buffers.iter().flatten() {
                let staging = gpu.read_back_buffer(buffer.size()).await.unwrap();
                let bytes = gpu.read(buffer, 0, buffer.size(), &staging).await.unwrap();
                let nan = 0x7fc0_0000_u32.to_le_bytes();
                assert!(bytes.chunks(4).all(|word| word == nan));
            }
        });
    }

    #[test]
    fn a_pipeline_is_compiled_once_and_shared() {
        let Some(gpu) = poisoned() else { return };
        let recording = recording(&gpu);
        let compile = || pollster::block_on(Program::compile(&gpu, &recording)).unwrap();
        let [first, second] = [compile(), compile()];
        for (a, first) in first.stages.iter().enumerate() {
            for (b, second) in second.stages.iter().enumerate() {
                let [a, b] = [a, b].map(|at| &recording.dispatches[at]);
                let same = a.kernel.name == b.kernel.name
                    && a.constants == b.constants
                    && a.formats == b.formats;
                assert_eq!(first.pipeline == second.pipeline, same);
            }
        }
    }

    #[test]
    fn a_kernel_that_does_not_compile_is_named_with_its_layer() {
        static BAD: Kernel = Kernel {
            name: "bad",
            source: "fn main( }",
            ..broadcast::JOIN
        };
        let Some(gpu) = poisoned() else { return };
        let good = recording(&gpu);
        let mut bad = recording(&gpu);
        let last = bad.dispatches.len() / 2;
        let add = |recording: &mut Recording| {
            let [left, right, sum] = [(); 3].map(|()| recording.transient("", 64));
            broadcast::add(recording, 64, [left, right], sum.into());
        };
        add(&mut bad);
        let mut dispatch = bad.dispatches.pop().unwrap();
        dispatch.kernel = &BAD;
        dispatch.label = "layer 3 (wrong)".into();
        bad.dispatches.insert(last, dispatch);
        for _ in 0..2 {
            let error = pollster::block_on(Program::compile(&gpu, &bad))
                .err()
                .unwrap();
            let said = error.to_string();
            assert!(said.contains("layer 3 (wrong) (bad): "), "{said}");
            assert!(said.contains("expected"), "{said}");
        }
        pollster::block_on(Program::compile(&gpu, &good)).unwrap();
    }
}
