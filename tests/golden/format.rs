//! Reading a set: `cases.json` and the tensors beside it.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value};

use crate::refused::refused;

/// The cases of a folder, each by itself readable or not.
pub struct Entry {
    pub id: String,
    pub group: String,
    /// The name under which it is refused.
    pub refused: Option<&'static str>,
    pub case: Result<Case, String>,
}

/// One case: an operator with its options, inputs and expected outputs.
pub struct Case {
    pub op: String,
    pub options: Map<String, Value>,
    pub inputs: BTreeMap<String, Array>,
    pub outputs: BTreeMap<String, Expected>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Values,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    Floats(Vec<f32>),
    /// Labels and pool indices.
    Integers(Vec<i64>),
}

impl Values {
    pub fn len(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Integers(values) => values.len(),
        }
    }
}

/// What a case has computed, by name.
#[derive(Debug, Clone, Default)]
pub struct Outputs(pub BTreeMap<String, Values>);

impl Outputs {
    pub fn floats(&mut self, name: impl Into<String>, values: Vec<f32>) {
        self.0.insert(name.into(), Values::Floats(values));
    }

    /// The gradients of a normalisation's input, and of gamma and beta if it has them.
    pub fn factors(&mut self, gx: Vec<f32>, factors: Option<[Vec<f32>; 2]>) {
        self.floats("gx", gx);
        if let Some([ggamma, gbeta]) = factors {
            self.floats("ggamma", ggamma);
            self.floats("gbeta", gbeta);
        }
    }

    pub fn integers(&mut self, name: impl Into<String>, values: Vec<u32>) {
        let values = values.into_iter().map(i64::from).collect();
        self.0.insert(name.into(), Values::Integers(values));
    }
}

#[derive(Debug, Clone)]
pub struct Expected {
    pub array: Array,
    pub tolerance: Tolerance,
    /// The largest finite magnitude.
    pub max_abs: f64,
}

#[derive(Debug, Clone, Copy)]
pub enum Tolerance {
    /// `8 * torch_f32_err + 4e-6 * max_abs + 1e-7`.
    Measured { torch_f32_err: f64 },
    /// `atol + rtol * |expected|`.
    Stated { rtol: f64, atol: f64 },
}

impl Expected {
    /// Whether the tolerance is derived from measured errors.
    pub fn is_measured(&self) -> bool {
        matches!(self.tolerance, Tolerance::Measured { .. })
    }

    /// The tolerance of an element whose value should be `expected`.
    pub fn tolerance(&self, expected: f64) -> f64 {
        match self.tolerance {
            Tolerance::Measured { torch_f32_err } => {
                8.0 * torch_f32_err + 4e-6 * self.max_abs + 1e-7
            }
            Tolerance::Stated { rtol, atol } => atol + rtol * expected.abs(),
        }
    }
}

/// Reads a folder. An error where it has no index, or an index without cases.
pub fn read(folder: &Path) -> Result<Vec<Entry>, String> {
    let index = folder.join("cases.json");
    let unreadable = |reason: String| format!("{}: {reason}", index.display());
    let text = std::fs::read(&index).map_err(|e| unreadable(e.to_string()))?;
    let index: Value = serde_json::from_slice(&text).map_err(|e| unreadable(e.to_string()))?;
    let cases = index["cases"].as_array().filter(|cases| !cases.is_empty());
    let cases = cases.ok_or_else(|| unreadable("there are no cases".into()))?;
    let mut files = Files {
        folder,
        contents: BTreeMap::new(),
    };
    let entries = cases.iter().enumerate().map(|(at, json)| {
        let text = |key: &str| json[key].as_str().map(str::to_string);
        let group = text("group").unwrap_or_else(|| "without a group".into());
        let tags = json["tags"].as_array().into_iter().flatten();
        let op = json["op"].as_str().unwrap_or("");
        Entry {
            id: text("id").unwrap_or_else(|| format!("case {at}")),
            refused: refused(&group, op, tags.filter_map(Value::as_str)),
            group,
            case: Case::read(json, &mut files),
        }
    });
    Ok(entries.collect())
}

impl Case {
    fn read(json: &Value, files: &mut Files) -> Result<Self, String> {
        let text = |key: &str| json[key].as_str().ok_or(format!("{key:?} is not a text"));
        let object = |key: &str| {
            json[key]
                .as_object()
                .ok_or(format!("{key:?} is not an object"))
        };
        let (id, file) = (text("id")?, text("file")?);
        let options = match &json["params"] {
            Value::Null => Map::new(),
            _ => object("params")?.clone(),
        };
        let mut array = |name: &str, entry: &Value| files.array(file, id, name, entry);
        let mut inputs = BTreeMap::new();
        for (name, entry) in object("inputs")? {
            inputs.insert(name.clone(), array(name, entry)?);
        }
        let mut outputs = BTreeMap::new();
        for (name, entry) in object("outputs")? {
            outputs.insert(
                name.clone(),
                Expected::read(name, array(name, entry)?, entry)?,
            );
        }
        if outputs.is_empty() {
            return Err("there is nothing to compare".into());
        }
        Ok(Self {
            op: text("op")?.into(),
            options,
            inputs,
            outputs,
        })
    }

    pub fn input(&self, name: &str) -> Result<&Array, String> {
        self.inputs
            .get(name)
            .ok_or_else(|| format!("there is no input {name:?}"))
    }
}

impl Expected {
    fn read(name: &str, array: Array, entry: &Value) -> Result<Self, String> {
        let number = |key: &str| match &entry[key] {
            Value::Null => Ok(None),
            value => value
                .as_f64()
                .map(Some)
                .ok_or(format!("{name}: {key:?} is not a number")),
        };
        let tolerance = match (number("rtol")?, number("atol")?) {
            (None, None) => Tolerance::Measured {
                torch_f32_err: number("torch_f32_err")?.unwrap_or(0.0),
            },
            (rtol, atol) => Tolerance::Stated {
                rtol: rtol.unwrap_or(0.0),
                atol: atol.unwrap_or(0.0),
            },
        };
        let (mut largest, mut nonfinite) = (0.0f64, 0);
        if let Values::Floats(values) = &array.values {
            for value in values.iter().map(|&value| f64::from(value)) {
                match value.is_finite() {
                    true => largest = largest.max(value.abs()),
                    false => nonfinite += 1,
                }
            }
        }
        if number("nonfinite")?.is_some_and(|count| count != f64::from(nonfinite)) {
            return Err(format!(
                "{name} has {nonfinite} non-finite values, not as its index says"
            ));
        }
        let max_abs = number("max_abs")?.unwrap_or(largest);
        Ok(Self {
            array,
            tolerance,
            max_abs,
        })
    }
}

impl Array {
    pub fn floats(&self) -> Result<&[f32], String> {
        match &self.values {
            Values::Floats(values) => Ok(values),
            Values::Integers(_) => Err("integers in the place of numbers".into()),
        }
    }
}

/// The tensor files of a folder, each read once.
struct Files<'a> {
    folder: &'a Path,
    contents: BTreeMap<String, Vec<u8>>,
}

impl Files<'_> {
    /// The tensor `name` of the case `id`, whose shape the index states in `entry`.
    fn array(&mut self, file: &str, id: &str, name: &str, entry: &Value) -> Result<Array, String> {
        if !self.contents.contains_key(file) {
            let bytes =
                std::fs::read(self.folder.join(file)).map_err(|e| format!("{file}: {e}"))?;
            self.contents.insert(file.into(), bytes);
        }
        let tensors =
            SafeTensors::deserialize(&self.contents[file]).map_err(|e| format!("{file}: {e}"))?;
        let key = format!("{id}/{name}");
        let tensor = tensors
            .tensor(&key)
            .map_err(|e| format!("{file}: {key}: {e}"))?;
        let shape = tensor.shape().to_vec();
        let stated = entry["shape"].as_array().map(|shape| {
            shape
                .iter()
                .map(|extent| extent.as_u64().unwrap_or(u64::MAX) as usize)
                .collect()
        });
        if stated.is_some_and(|stated: Vec<usize>| stated != shape) {
            return Err(format!(
                "{key} has the shape {shape:?}, its index says {}",
                entry["shape"]
            ));
        }
        let values = match tensor.dtype() {
            Dtype::F32 => Values::Floats(words(tensor.data(), f32::from_le_bytes)),
            Dtype::I32 => Values::Integers(words(tensor.data(), |word| {
                i64::from(i32::from_le_bytes(word))
            })),
            Dtype::I64 => Values::Integers(words(tensor.data(), i64::from_le_bytes)),
            other => return Err(format!("{key} is of {other:?}")),
        };
        Ok(Array { shape, values })
    }
}

fn words<const N: usize, T>(bytes: &[u8], word: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|&bytes| word(bytes))
        .collect()
}
