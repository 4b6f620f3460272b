//! The numbers of `generate.py`: PyTorch's in `f64`, and how far it is off in `f32`.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use serde_json::Value;
use wgpu_cnn::{Model, Result, zoo};

use crate::counter;

/// Every number of one side, by name.
pub type Numbers = BTreeMap<String, Vec<f64>>;

/// A network, and what PyTorch has computed with it.
pub struct Case {
    pub name: String,
    pub network: String,
    pub batch: usize,
    classes: usize,
    size: [usize; 2],
    /// Whether it has auxiliary outputs.
    auxiliary: bool,
    width: Option<usize>,
    /// Whether it is only tried where `WGPU_CNN_TEST_LARGE` is 1.
    pub large: bool,
    seed: u64,
    pub tensors: Vec<Stored>,
}

/// A tensor of PyTorch's.
pub struct Stored {
    pub name: String,
    len: usize,
    largest: f64,
    norm: f64,
    /// How far its `f32` is off, as [`difference`](Self::difference) counts.
    float32: f64,
    samples: Vec<f64>,
}

impl Case {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let file = SafeTensors::deserialize(include_bytes!("numbers.safetensors")).unwrap();
        let cases: Value = serde_json::from_str(include_str!("numbers.json")).unwrap();
        let cases = cases.as_array().unwrap().iter();
        cases.map(|case| Self::read(case, &file)).collect()
    }

    fn read(case: &Value, file: &SafeTensors) -> Self {
        let text = |key: &str| case[key].as_str().unwrap().to_string();
        let number = |value: &Value| value.as_u64().unwrap() as usize;
        let name = text("name");
        let samples = |tensor: &str| {
            let view = file.tensor(&format!("{name}/{tensor}")).unwrap();
            let values = view.data().chunks_exact(8);
            let value = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().unwrap());
            values.map(value).collect()
        };
        let stored = |(tensor, about): (&String, &Value)| Stored {
            name: tensor.clone(),
            len: about["shape"]
                .as_array()
                .unwrap()
                .iter()
                .map(number)
                .product(),
            largest: about["largest"].as_f64().unwrap(),
            norm: about["norm"].as_f64().unwrap(),
            float32: about["float32"].as_f64().unwrap(),
            samples: samples(tensor),
        };
        Self {
            network: text("network"),
            batch: number(&case["batch"]),
            classes: number(&case["classes"]),
            size: [0, 1].map(|axis| number(&case["size"][axis])),
            auxiliary: !case["auxiliary"].as_object().unwrap().is_empty(),
            width: case["options"].get("width").map(number),
            large: case["large"].as_bool().unwrap(),
            seed: case["seed"].as_u64().unwrap(),
            tensors: case["tensors"]
                .as_object()
                .unwrap()
                .iter()
                .map(stored)
                .collect(),
            name,
        }
    }

    /// The network, without what is random in training.
    pub fn network(&self) -> Result<zoo::Network> {
        let [height, width] = self.size;
        let network = zoo::named(&self.network)?;
        let network = network.classes(self.classes).input([3, height, width]);
        let network = network.dropout(0.0).stochastic_depth(0.0);
        let network = network.auxiliary(self.auxiliary);
        Ok(match self.width {
            Some(width) => network.width(width),
            None => network,
        })
    }

    /// Each parameter and its values.
    pub fn parameters<'a>(&self, model: &'a Model) -> impl Iterator<Item = (&'a str, Vec<f32>)> {
        let seed = self.seed;
        let parameters = model.parameters();
        parameters.map(move |(name, shape)| (name, counter::parameter(seed, name, shape)))
    }

    /// How far PyTorch's `f32` is off in a tensor; for a single gradient, in any of them: a kink that is taken otherwise
    /// somewhere changes all that are before it.
    pub fn float32(&self, tensor: &Stored) -> f64 {
        let is_gradient = |stored: &&Stored| {
            stored.name.starts_with("gradient ") && !stored.name.ends_with(" norms")
        };
        match is_gradient(&tensor) {
            true => self
                .tensors
                .iter()
                .filter(is_gradient)
                .map(|stored| stored.float32)
                .fold(0.0, f64::max),
            false => tensor.float32,
        }
    }

    /// A batch of inputs.
    pub fn input(&self, model: &Model) -> Vec<f32> {
        let len = self.batch * model.input_shape().len();
        counter::uniform(self.seed, "input", len, [-1.75, 1.75])
    }

    /// A label for each example, or for each of its pixels.
    pub fn labels(&self, model: &Model) -> Vec<u32> {
        let positions: usize = model.output_shape()[1..].iter().product();
        counter::labels(self.seed, self.batch * positions, self.classes)
    }
}

impl Stored {
    /// How far a tensor is from PyTorch's, relative to its largest magnitude: where it was sampled, in its largest
    /// magnitude and in its norm. Norms are of a tensor each, and relative to themselves but for those of next to
    /// nothing. A tensor of zeros says nothing.
    pub fn difference(&self, got: &[f64]) -> f64 {
        assert!(self.largest > 0.0, "{}: nothing but zeros", self.name);
        if got.len() != self.len {
            return f64::INFINITY;
        }
        let places = counter::places(&self.name, self.len);
        assert_eq!(places.len(), self.samples.len());
        let off = |got: f64, right: f64, scale: f64| match (got - right).abs() / scale {
            off if off.is_nan() => f64::INFINITY,
            off => off,
        };
        let sampled = places.iter().zip(&self.samples).map(|(&place, &right)| {
            let scale = match self.name.ends_with("norms") {
                true => right.max(1e-3 * self.largest),
                false => self.largest,
            };
            off(got[place], right, scale)
        });
        let largest = got.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        let whole = [
            off(largest, self.largest, self.largest),
            off(norm(got), self.norm, self.norm),
        ];
        sampled.chain(whole).fold(0.0, f64::max)
    }
}

/// The Euclidean norm.
pub fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}
