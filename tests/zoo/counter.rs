//! Numbers from a counter, bit for bit those of `generate.py`: a function of seed, name and place.

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// Random words: splitmix64 from a state that follows from `seed` and `name` (FNV-1a).
pub fn words(seed: u64, name: &str) -> impl Iterator<Item = u64> + use<> {
    let hash = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    let state = name.as_bytes().iter().fold(0xCBF2_9CE4_8422_2325, hash);
    let state = state ^ seed.wrapping_mul(GAMMA);
    (1..).map(move |at: u64| {
        let z = state.wrapping_add(GAMMA.wrapping_mul(at));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

/// Numbers from `low` to `high`, rounded to `f32`.
pub fn uniform(seed: u64, name: &str, count: usize, [low, high]: [f64; 2]) -> Vec<f32> {
    let unit = |word: u64| (word >> 40) as f64 / 16_777_216.0;
    let value = |word| (low + (high - low) * unit(word)) as f32;
    words(seed, name).map(value).take(count).collect()
}

/// The values of a parameter. What its name ends with, and its rank, say what it is.
pub fn parameter(seed: u64, name: &str, shape: &[usize]) -> Vec<f32> {
    let last = name.rsplit('.').next().unwrap_or(name);
    let gain = ["running_var", "layer_scale"].contains(&last);
    let bounds = match last {
        _ if gain || (last == "weight" && shape.len() == 1) => [0.5, 1.5],
        "weight" => {
            let bound = (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
            [-bound, bound]
        }
        _ => [-0.5, 0.5],
    };
    uniform(seed, name, shape.iter().product(), bounds)
}

pub fn labels(seed: u64, count: usize, classes: usize) -> Vec<u32> {
    let words = words(seed, "labels").take(count);
    words.map(|word| (word % classes as u64) as u32).collect()
}

/// Places of a tensor's stored values: all of a small one, and all norms.
pub fn places(name: &str, len: usize) -> Vec<usize> {
    const SAMPLES: usize = 96;
    if len <= SAMPLES || name.ends_with("norms") {
        return (0..len).collect();
    }
    let words = words(0, name).take(SAMPLES);
    words.map(|word| (word % len as u64) as usize).collect()
}

#[test]
fn numbers_are_those_of_the_script() {
    let first: Vec<u64> = words(0, "input").take(2).collect();
    assert_eq!(first, [0x190A_9F76_A9BD_8BF6, 0xA701_17D0_9CB2_BC5B]);
    let bits = |name: &str, shape: &[usize]| {
        let values = parameter(1, name, shape);
        [values[0].to_bits(), values[1].to_bits()]
    };
    let weights = bits("conv1.weight", &[64, 3, 7, 7]);
    assert_eq!(weights, [0xBE4C_6985, 0x3DC8_159A]);
    let variances = bits("bn1.running_var", &[64]);
    assert_eq!(variances, [0x3FAD_46E4, 0x3F5E_C707]);
    assert_eq!(labels(3, 5, 10), [3, 8, 4, 4, 9]);
}
