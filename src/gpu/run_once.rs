//! A program outside of training: its buffers written and read, its dispatches run once.

use std::ops::Range;

use super::kernel::Format;
use super::program::Program;
use super::record::{BufferId, Dispatch, Recording, Region, Storage};
use super::verdict::Verdicts;
use super::{Buffer, Gpu};
use crate::{Error, Result};

impl Program {
    /// Uploads the params of all dispatches.
    pub async fn set_params(&self, gpu: &Gpu, params: &[u8]) -> Result<()> {
        let write = || gpu.queue().write_buffer(self.uniforms(), 0, params);
        gpu.guard("params", write).await
    }

    /// Uploads the params and runs ranges of the dispatches, in one submission.
    pub async fn run_once(
        &self,
        gpu: &Gpu,
        dispatches: &[Dispatch],
        ranges: &[Range<usize>],
        params: &[u8],
    ) -> Result<()> {
        let submit = || {
            gpu.queue().write_buffer(self.uniforms(), 0, params);
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            self.encode(&mut encoder, dispatches, ranges);
            gpu.queue().submit([encoder.finish()]);
        };
        let first = ranges.iter().cloned().flatten().next();
        let what = first.and_then(|at| dispatches.get(at));
        let what = what.map_or("nothing", |dispatch| dispatch.label.as_str());
        gpu.guard(what, submit).await
    }

    /// Writes bytes to the beginning of a region. What the last of them leave of a word becomes 0.
    pub async fn write(&self, gpu: &Gpu, region: Region, bytes: &[u8]) -> Result<()> {
        let mut verdicts = Verdicts::of(gpu);
        self.begin_write(&mut verdicts, gpu, region, bytes)?;
        verdicts.known().await
    }

    /// The same, of which the device tells with the other verdicts.
    pub fn begin_write(
        &self,
        verdicts: &mut Verdicts,
        gpu: &Gpu,
        region: Region,
        bytes: &[u8],
    ) -> Result<()> {
        let (buffer, offset) = (self.memory(region)?, gpu.margin() + region.offset);
        let (words, rest) = bytes.split_at(bytes.len() - bytes.len() % 4);
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        let write = || {
            gpu.queue().write_buffer(buffer, offset, words);
            if !rest.is_empty() {
                let end = offset + words.len() as u64;
                gpu.queue().write_buffer(buffer, end, &last);
            }
        };
        verdicts.guard("upload", 0, write)
    }

    /// Reads the bytes of a region, through a staging buffer of its own.
    pub async fn read(&self, gpu: &Gpu, region: Region) -> Result<Vec<u8>> {
        let staging = gpu.read_back_buffer(region.size).await?;
        self.read_through(gpu, region, &staging).await
    }

    /// Reads the bytes of a region through a staging buffer.
    pub async fn read_through(
        &self,
        gpu: &Gpu,
        region: Region,
        staging: &Buffer,
    ) -> Result<Vec<u8>> {
        self.check_margins(gpu).await?;
        let (buffer, offset) = (self.memory(region)?, gpu.margin() + region.offset);
        gpu.read(buffer, offset, region.size, staging).await
    }

    /// The buffer that a region is part of.
    pub fn memory(&self, region: Region) -> Result<&Buffer> {
        let missing = || Error::Gpu {
            message: "a buffer of the plan has no memory".into(),
        };
        self.buffer(region.buffer).ok_or_else(missing)
    }

    /// The contents of every buffer that is kept between runs of a recording.
    pub async fn save(&self, gpu: &Gpu, recording: &Recording) -> Result<Vec<(Region, Vec<u8>)>> {
        let mut saved = Vec::new();
        for (id, info) in recording.buffers.iter().enumerate() {
            let region = Region {
                buffer: BufferId(id),
                offset: 0,
                size: info.size,
                format: Format::F32,
            };
            let kept = matches!(info.storage, Storage::Persistent);
            if kept && self.buffer(region.buffer).is_some() {
                saved.push((region, self.read(gpu, region).await?));
            }
        }
        Ok(saved)
    }

    /// Writes back what was saved.
    pub async fn restore(&self, gpu: &Gpu, saved: &[(Region, Vec<u8>)]) -> Result<()> {
        for (region, bytes) in saved {
            self.write(gpu, *region, bytes).await?;
        }
        Ok(())
    }
}
