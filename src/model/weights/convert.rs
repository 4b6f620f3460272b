//! Numbers in files as `f32`, and `f32` as the numbers of a file.
// The format's types are not this crate's to list: those that are not read are all the others, future ones too.
#![allow(clippy::wildcard_enum_match_arm)]

use std::io::{Read, Seek};

use half::{bf16, f16};
use safetensors::tensor::Dtype;

use crate::file::safetensors::{Reader, Sink, quoted};
use crate::{Error, Result};

/// Numbers that are converted at once.
const AT_ONCE: usize = 4096;

/// Whether a parameter can be made of numbers of this type: of any floating-point number that PyTorch
/// trains with, and a count of any whole one.
pub(super) fn is_read(dtype: Dtype, count: bool) -> bool {
    match count {
        true => whole(dtype).is_some(),
        false => float(dtype).is_some(),
    }
}

/// A number of its bytes; none where they are not as many as it has.
type Decode<T> = fn(&[u8]) -> Option<T>;

/// How a floating-point number is read.
fn float(dtype: Dtype) -> Option<Decode<f64>> {
    match dtype {
        Dtype::F64 => Some(|bytes| Some(f64::from_le_bytes(bytes.try_into().ok()?))),
        Dtype::F32 => Some(|bytes| Some(f32::from_le_bytes(bytes.try_into().ok()?).into())),
        Dtype::F16 => Some(|bytes| Some(f16::from_le_bytes(bytes.try_into().ok()?).to_f64())),
        Dtype::BF16 => Some(|bytes| Some(bf16::from_le_bytes(bytes.try_into().ok()?).to_f64())),
        _ => None,
    }
}

/// How a whole number is read.
fn whole(dtype: Dtype) -> Option<Decode<i128>> {
    match dtype {
        Dtype::I64 => Some(|bytes| Some(i64::from_le_bytes(bytes.try_into().ok()?).into())),
        Dtype::U64 => Some(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?).into())),
        Dtype::I32 => Some(|bytes| Some(i32::from_le_bytes(bytes.try_into().ok()?).into())),
        Dtype::U32 => Some(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?).into())),
        Dtype::I16 => Some(|bytes| Some(i16::from_le_bytes(bytes.try_into().ok()?).into())),
        Dtype::U16 => Some(|bytes| Some(u16::from_le_bytes(bytes.try_into().ok()?).into())),
        Dtype::I8 => Some(|bytes| Some(i8::from_le_bytes(bytes.try_into().ok()?).into())),
        Dtype::U8 => Some(|bytes| Some(u8::from_le_bytes(bytes.try_into().ok()?).into())),
        _ => None,
    }
}

/// The `len` values of a tensor as `f32`: floating-point numbers rounded to the nearest, and counts, which
/// are whole and not negative. A number that only infinity would be near is an error.
pub(super) fn read<R: Read + Seek>(
    file: &mut Reader<R>,
    tensor: usize,
    len: usize,
    count: bool,
) -> Result<Vec<f32>> {
    let dtype = file.tensors()[tensor].1.dtype;
    if dtype == Dtype::F32 && !count {
        let mut values = vec![0.0f32; len];
        file.read(tensor, 0, bytemuck::cast_slice_mut(&mut values))?;
        if cfg!(target_endian = "big") {
            for value in &mut values {
                *value = f32::from_bits(value.to_bits().swap_bytes());
            }
        }
        return Ok(values);
    }
    let (float, whole) = (float(dtype), whole(dtype));
    let number = |bytes: &[u8]| match count {
        true => whole
            .and_then(|read| read(bytes))
            .ok_or_else(|| format!("is {dtype:?}"))
            .and_then(counted),
        false => float
            .and_then(|read| read(bytes))
            .ok_or_else(|| format!("is {dtype:?}"))
            .and_then(rounded),
    };
    let size = dtype.bitsize() / 8;
    let mut values = Vec::with_capacity(len);
    let mut bytes = vec![0; size * AT_ONCE.min(len)];
    while values.len() < len {
        let part = &mut bytes[..size * AT_ONCE.min(len - values.len())];
        file.read(tensor, (size * values.len()) as u64, part)?;
        for bytes in part.chunks_exact(size) {
            let value = number(bytes).map_err(|reason| {
                let name = quoted(&file.tensors()[tensor].0);
                let reason = format!("tensor {name}: element {} {reason}", values.len());
                Error::file(file.path(), reason)
            })?;
            values.push(value);
        }
    }
    Ok(values)
}

/// A number as the nearest `f32`.
fn rounded(value: f64) -> std::result::Result<f32, String> {
    let near = value as f32;
    match value.is_finite() && !near.is_finite() {
        true => Err(format!("is {value:e}, and f32 ends at {:e}", f32::MAX)),
        false => Ok(near),
    }
}

/// A count as `f32`, which counts up to 2^24.
fn counted(value: i128) -> std::result::Result<f32, String> {
    match value {
        0.. => Ok(value as f32),
        _ => Err(format!("is {value} batches")),
    }
}

/// Writes the values of a parameter as numbers of a type: of `I64`, `F32`, `F16` or `BF16`.
pub(super) fn write(sink: &mut impl Sink, name: &str, values: &[f32], dtype: Dtype) -> Result<()> {
    let mut bytes = Vec::with_capacity(AT_ONCE * dtype.bitsize() / 8);
    for (part, values) in values.chunks(AT_ONCE).enumerate() {
        bytes.clear();
        for (at, &value) in values.iter().enumerate() {
            let end = match dtype {
                Dtype::I64 => {
                    bytes.extend((value as i64).to_le_bytes());
                    continue;
                }
                Dtype::F16 => {
                    let near = f16::from_f32(value);
                    bytes.extend(near.to_le_bytes());
                    (near.is_infinite()).then_some(f16::MAX.to_f32())
                }
                Dtype::BF16 => {
                    let near = bf16::from_f32(value);
                    bytes.extend(near.to_le_bytes());
                    (near.is_infinite()).then_some(bf16::MAX.to_f32())
                }
                _ => {
                    bytes.extend(value.to_le_bytes());
                    None
                }
            };
            if let Some(end) = end.filter(|_| value.is_finite()) {
                let at = part * AT_ONCE + at;
                let reason = format!("element {at} is {value:e}, and {dtype:?} ends at {end:e}");
                return Err(Error::argument(format!("parameter {name:?}"), reason));
            }
        }
        sink.write(&bytes)?;
    }
    Ok(())
}
