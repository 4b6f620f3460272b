//! Numbers of other types than `f32`.

use half::{bf16, f16};

use super::*;

/// A model of one parameter of six numbers.
fn six() -> Model {
    let dense = crate::Linear::new(2).bias(false);
    Model::builder([3]).push(dense).build().unwrap()
}

/// Six numbers as the values of `0.weight`, of a type.
fn read(dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>> {
    let view = TensorView::new(dtype, vec![2, 3], bytes).unwrap();
    let bytes = safetensors::serialize([("0.weight", view)], None).unwrap();
    let graph = six().graph;
    let mut opened = Weights::bytes(bytes).open(&graph)?;
    Ok(opened.read(&graph, ParameterId(0))?.unwrap())
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn floating_point_numbers_are_rounded_to_the_nearest() {
    let values = [1.0, -2.5, f64::INFINITY, 0.1, -0.0, 1e-310];
    let doubles: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let expected = [1.0, -2.5, f32::INFINITY, 0.1, -0.0, 0.0];
    assert_eq!(bits(&read(Dtype::F64, &doubles).unwrap()), bits(&expected));
    // Halfway between two goes to the even one; that which rounds to the largest is not beyond it.
    let ulp = f64::from(f32::EPSILON);
    let largest = f64::from(f32::MAX);
    let values = [
        1.0 + ulp / 2.0,
        1.0 + 1.5 * ulp,
        f64::NAN,
        largest,
        -largest,
        largest * (1.0 + 1e-9),
    ];
    let doubles: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let got = read(Dtype::F64, &doubles).unwrap();
    assert_eq!(got[..2], [1.0, 1.0 + 2.0 * f32::EPSILON]);
    assert!(got[2].is_nan());
    assert_eq!(got[3..], [f32::MAX, f32::MIN, f32::MAX]);

    let values = [1.0, -2.5, f32::INFINITY, 65504.0, -0.0, 2.0f32.powi(-24)];
    let halves: Vec<u8> = values
        .iter()
        .flat_map(|&value| f16::from_f32(value).to_le_bytes())
        .collect();
    assert_eq!(bits(&read(Dtype::F16, &halves).unwrap()), bits(&values));
    let values = [1.0, -2.5, f32::NEG_INFINITY, 3e38, -0.0, 2.0f32.powi(-133)];
    let values = values.map(|value| bf16::from_f32(value).to_f32());
    let brains: Vec<u8> = values
        .iter()
        .flat_map(|&value| bf16::from_f32(value).to_le_bytes())
        .collect();
    assert_eq!(bits(&read(Dtype::BF16, &brains).unwrap()), bits(&values));
}

#[test]
fn numbers_beyond_f32_are_refused() {
    for wrong in [1e300, -1e39, f64::MAX, 3.402_823_6e38] {
        let mut values = [0.5; 6];
        values[4] = wrong;
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let said = read(Dtype::F64, &bytes).unwrap_err().to_string();
        let expected = format!(
            "the bytes: tensor \"0.weight\": element 4 is {wrong:e}, and f32 ends at 3.4028235e38"
        );
        assert_eq!(said, expected);
    }
}

#[test]
fn other_types_are_refused_by_their_name() {
    let types = [
        (Dtype::I32, 24),
        (Dtype::I64, 48),
        (Dtype::U8, 6),
        (Dtype::BOOL, 6),
        (Dtype::F8_E4M3, 6),
        (Dtype::C64, 48),
    ];
    for (dtype, bytes) in types {
        let said = read(dtype, &vec![0; bytes]).unwrap_err().to_string();
        let expected =
            format!("the bytes: tensor \"0.weight\" is {dtype:?}, not F64, F32, F16 or BF16");
        assert_eq!(said, expected);
    }
}

/// More than are converted at once.
#[test]
fn many_numbers_are_converted_in_parts() {
    let dense = crate::Linear::new(91).bias(false);
    let model = Model::builder([99]).push(dense).build().unwrap();
    let values: Vec<f32> = (0..91 * 99).map(|at| at as f32 * 0.25).collect();
    let options = SaveOptions::new().bf16();
    let bytes = saved(&options, &model, &[("0.weight", &values)]).unwrap();
    let mut opened = Weights::bytes(bytes).open(&model.graph).unwrap();
    let read = opened.read(&model.graph, ParameterId(0)).unwrap().unwrap();
    let expected: Vec<f32> = values
        .iter()
        .map(|&value| bf16::from_f32(value).to_f32())
        .collect();
    assert_eq!(read, expected);
    let options = SaveOptions::new().f16();
    let mut values = vec![0.5; 91 * 99];
    values[5000] = 65520.0;
    let said = saved(&options, &model, &[("0.weight", &values)]).unwrap_err();
    assert_eq!(
        said.to_string(),
        "parameter \"0.weight\": element 5000 is 6.552e4, and F16 ends at 6.5504e4"
    );
    values[5000] = 65519.0; // the last that is nearer to 65504
    saved(&options, &model, &[("0.weight", &values)]).unwrap();
    values[5000] = f32::MAX;
    let said = saved(&SaveOptions::new().bf16(), &model, &[("0.weight", &values)]).unwrap_err();
    assert!(said.to_string().contains("BF16 ends at"), "{said}");
    values[5000] = f32::NEG_INFINITY;
    values[5001] = f32::NAN;
    let bytes = saved(&options, &model, &[("0.weight", &values)]).unwrap();
    let mut opened = Weights::bytes(bytes).open(&model.graph).unwrap();
    let read = opened.read(&model.graph, ParameterId(0)).unwrap().unwrap();
    assert_eq!(read[5000], f32::NEG_INFINITY);
    assert!(read[5001].is_nan());
}
