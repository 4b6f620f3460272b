//! A recording made runnable: its buffers, bind groups and pipelines on a device.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use wgpu::BufferBinding;

use super::Gpu;
use super::record::{BufferId, Dispatch, Recording, Region, Storage};
use crate::Result;

/// A compiled recording. Running it creates nothing.
pub(crate) struct Program {
    stages: Vec<Stage>,
    /// The buffer of each buffer of the recording that has one.
    buffers: Vec<Option<wgpu::Buffer>>,
    /// The params of all dispatches.
    uniforms: wgpu::Buffer,
    /// Where each dispatch's params begin in `uniforms`.
    offsets: Vec<u64>,
}

struct Stage {
    pipeline: Arc<wgpu::ComputePipeline>,
    bind_group: wgpu::BindGroup,
}

impl Program {
    /// Allocates what the recording needs and compiles its kernels.
    pub async fn compile(gpu: &Gpu, recording: &Recording) -> Result<Self> {
        gpu.check_limits()?;
        let assignment = recording.assign();
        let mut physical = Vec::new();
        for (slot, &size) in assignment.sizes.iter().enumerate() {
            let tenant = assignment.slots.iter().position(|&s| s == Some(slot));
            let label = tenant.map_or("", |id| recording.buffers[id].label.as_str());
            physical.push(gpu.memory(label, size).await?);
        }
        let buffers: Vec<Option<wgpu::Buffer>> = (recording.buffers.iter().zip(&assignment.slots))
            .map(|(info, slot)| match &info.storage {
                Storage::Bound(buffer) => Some(buffer.clone()),
                _ => slot.map(|slot| physical[slot].clone()),
            })
            .collect();

        let alignment = recording.traits.uniform_alignment;
        let mut offsets = Vec::new();
        let mut size = 0;
        for dispatch in &recording.dispatches {
            offsets.push(size);
            size += (dispatch.params.len() as u64).next_multiple_of(alignment);
        }
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniforms = gpu.buffer("params", size.max(alignment), usage).await?;

        let mut stages = Vec::new();
        for (dispatch, &offset) in recording.dispatches.iter().zip(&offsets) {
            let (kernel, constants) = (dispatch.kernel, &dispatch.constants);
            let formats = &dispatch.formats;
            let what = format!("{} ({})", dispatch.label, kernel.name);
            let create = || Stage {
                pipeline: gpu.pipeline(kernel, formats, constants),
                bind_group: bind_group(gpu, dispatch, &buffers, &uniforms, offset),
            };
            let stage = gpu.guard(&what, create).await;
            if stage.is_err() {
                gpu.forget(kernel, formats, constants);
            }
            stages.push(stage?);
        }
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
    pub fn uniforms(&self) -> &wgpu::Buffer {
        &self.uniforms
    }

    /// Looks for stray writes, on a poisoned device.
    pub async fn check_margins(&self, gpu: &Gpu) -> Result<()> {
        gpu.check_margins(self.buffers.iter().flatten()).await
    }

    /// The buffer that a buffer of the recording became; its contents begin at the device's margin.
    pub fn buffer(&self, id: BufferId) -> Option<&wgpu::Buffer> {
        self.buffers[id.0].as_ref()
    }

    /// Encodes ranges of the dispatches, with the grids of `dispatches`, as one compute pass.
    pub fn encode(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        dispatches: &[Dispatch],
        ranges: &[Range<usize>],
    ) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
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
    buffers: &[Option<wgpu::Buffer>],
    uniforms: &wgpu::Buffer,
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
    let entries: Vec<wgpu::BindGroupEntry> = (0..)
        .zip(storage.chain([params]))
        .map(|(binding, bound)| {
            let resource = wgpu::BindingResource::Buffer(bound);
            wgpu::BindGroupEntry { binding, resource }
        })
        .collect();
    gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(&dispatch.label),
        layout: &gpu.layout(dispatch.kernel),
        entries: &entries,
    })
}
