//! Upsampling and pooling to a size against their definitions, on random sizes and scales.

use fastrand::Rng;
use wgpu_cnn::{AdaptiveAvgPool2d, AdaptiveMaxPool2d, Upsample2d, cpu};

/// What an output of a row takes from it, as PyTorch's documentation and code have it.
fn weights(layer: Upsample2d, input: usize, output: usize, scale: Option<f64>) -> Vec<Vec<f64>> {
    let nearest = layer == Upsample2d::nearest();
    let row = |i: usize| {
        let mut row = vec![0.0; input];
        let step = scale.map_or(input as f64 / output as f64, |scale| 1.0 / scale);
        if nearest {
            let step = match output {
                _ if output == input => 1.0,
                _ if output == 2 * input => 0.5,
                _ => scale.map_or(input as f32 / output as f32, |scale| (1.0 / scale) as f32),
            };
            row[((i as f32 * step).floor() as usize).min(input - 1)] = 1.0;
            return row;
        }
        let place = match layer.align_corners {
            _ if output == input => i as f64,
            true if output == 1 => 0.0,
            true => i as f64 * (input - 1) as f64 / (output - 1) as f64,
            false => ((i as f64 + 0.5) * step - 0.5).max(0.0),
        };
        let first = (place.floor() as usize).min(input - 1);
        let share = (place - first as f64).clamp(0.0, 1.0);
        row[first] += 1.0 - share;
        row[(first + 1).min(input - 1)] += share;
        row
    };
    (0..output).map(row).collect()
}

#[test]
fn upsampling_equals_the_definition() {
    let mut rng = Rng::with_seed(5);
    let layers = [
        Upsample2d::nearest(),
        Upsample2d::bilinear(),
        Upsample2d::bilinear().align_corners(true),
    ];
    for round in 0..600 {
        let layer = layers[round % 3];
        let input = [rng.usize(1..12), rng.usize(1..40)];
        let scales = [(); 2].map(|()| match rng.bool() {
            true => f64::from(rng.u32(5..40)) / 10.0,
            false => 0.3 + 3.0 * rng.f64(),
        });
        let output = match rng.bool() {
            true => input.map(|_| rng.usize(1..40)),
            false => [0, 1].map(|axis| (input[axis] as f64 * scales[axis]) as usize),
        };
        let by_scale = output == [0, 1].map(|axis| (input[axis] as f64 * scales[axis]) as usize);
        if output.contains(&0) {
            continue;
        }
        let resized = match by_scale {
            true => layer.scale(scales),
            false => layer.size(output),
        };
        let geometry = resized
            .geometry(1, &[1, input[0], input[1]].into())
            .unwrap();
        assert_eq!([geometry.out_size.height, geometry.out_size.width], output);
        let [rows, columns] = [0, 1].map(|axis| {
            weights(
                layer,
                input[axis],
                output[axis],
                by_scale.then_some(scales[axis]),
            )
        });
        let x: Vec<f64> = (0..geometry.input_len()).map(|_| rng.f64()).collect();
        let mut y = vec![f64::NAN; geometry.output_len()];
        cpu::upsample2d_forward(&geometry, &x, &mut y).unwrap();
        for (at, y) in y.iter().enumerate() {
            let (row, column) = (&rows[at / output[1]], &columns[at % output[1]]);
            let terms = x.iter().enumerate();
            let terms = terms.map(|(at, x)| row[at / input[1]] * column[at % input[1]] * x);
            let expected: f64 = terms.sum();
            assert!(
                (y - expected).abs() < 1e-11,
                "{resized:?} of {input:?}: {y}, not {expected}"
            );
        }
    }
}

#[test]
fn pooling_to_a_size_equals_the_definition() {
    let mut rng = Rng::with_seed(6);
    for _ in 0..200 {
        let [h, w, oh, ow] = [(); 4].map(|()| rng.usize(1..20));
        let image = &[2, h, w].into();
        let geometry = AdaptiveAvgPool2d::new([oh, ow]).geometry(1, image).unwrap();
        assert_eq!(
            AdaptiveMaxPool2d::new([oh, ow]).geometry(1, image),
            Ok(geometry)
        );
        let x: Vec<f64> = (0..geometry.input_len()).map(|_| rng.f64()).collect();
        let mut means = vec![f64::NAN; geometry.output_len()];
        let (mut maxima, mut argmax) = (means.clone(), vec![7; means.len()]);
        cpu::adaptive_avg_pool2d_forward(&geometry, &x, &mut means).unwrap();
        cpu::adaptive_max_pool2d_forward(&geometry, &x, &mut maxima, &mut argmax).unwrap();
        for at in 0..means.len() {
            let (plane, i, j) = (at / (oh * ow), at % (oh * ow) / ow, at % ow);
            let edge =
                |i: usize, input: usize, output: usize| i as f64 * input as f64 / output as f64;
            let rows = edge(i, h, oh).floor() as usize..edge(i + 1, h, oh).ceil() as usize;
            let columns = edge(j, w, ow).floor() as usize..edge(j + 1, w, ow).ceil() as usize;
            let places = rows.flat_map(|row| columns.clone().map(move |column| row * w + column));
            let window: Vec<(usize, f64)> = places.map(|p| (p, x[plane * h * w + p])).collect();
            let mean = window.iter().map(|(_, x)| x).sum::<f64>() / window.len() as f64;
            let largest = window.iter().max_by(|(_, a), (_, b)| a.total_cmp(b));
            let &(place, maximum) = largest.unwrap();
            assert!((means[at] - mean).abs() < 1e-14);
            assert_eq!((maxima[at], argmax[at] as usize), (maximum, place));
        }
    }
}
