//! Numbers that no tensor has, and numbers that nothing can be learned with, are refused.

use super::*;

const MAX: usize = usize::MAX;

#[test]
fn geometries_of_numbers_that_no_tensor_has_are_refused() {
    let image: Shape = [3, 8, 8].into();
    let (long, row): (Shape, Shape) = ([3, MAX, 2].into(), [5].into());
    let refused: [(&str, bool); 14] = [
        ("batch", Conv2d::new(4, 3).geometry(MAX, &image).is_err()),
        ("channels", Conv2d::new(MAX, 3).geometry(1, &image).is_err()),
        ("kernel", Conv2d::new(4, MAX).geometry(1, &image).is_err()),
        ("extent", Conv2d::new(4, 3).geometry(1, &long).is_err()),
        (
            "transpose",
            ConvTranspose2d::new(4, 3).geometry(MAX, &image).is_err(),
        ),
        (
            "transpose channels",
            ConvTranspose2d::new(MAX, 3).geometry(1, &image).is_err(),
        ),
        (
            "transpose extent",
            ConvTranspose2d::new(4, 3).geometry(1, &long).is_err(),
        ),
        (
            "transpose stride",
            ConvTranspose2d::new(4, 3)
                .stride(1 << 24)
                .geometry(1, &image)
                .is_err(),
        ),
        ("pool", MaxPool2d::new(2).geometry(MAX, &image).is_err()),
        ("mean", AvgPool2d::new(2).geometry(MAX, &image).is_err()),
        ("global", GlobalPool::Max.geometry(MAX, &image).is_err()),
        ("linear", Linear::new(MAX).geometry(MAX, &row).is_err()),
        ("softmax", Softmax::new().geometry(MAX, &image).is_err()),
        ("norm", BatchNorm::new().geometry(MAX, &image).is_err()),
    ];
    for (what, refused) in refused {
        assert!(refused, "{what}");
    }
    let axis = |axis| Softmax::new().axis(axis).geometry(1, &image);
    assert!(axis(isize::MIN).is_err() && axis(isize::MAX).is_err() && axis(-4).is_err());
    assert_eq!(axis(-3).unwrap(), axis(0).unwrap());
}

#[test]
fn lengths_saturate() {
    let most = Size2::from(MAX);
    assert_eq!(most.area(), MAX);
    let conv = Conv2dGeometry {
        batch: MAX,
        groups: 0,
        in_channels: 2,
        in_size: most,
        out_channels: 2,
        out_size: most,
        kernel: most,
        stride: most,
        padding: [MAX; 4],
        dilation: most,
    };
    assert_eq!([conv.input_len(), conv.output_len()], [MAX; 2]);
    assert_eq!((conv.weight_len(), conv.flops()), (0, 0)); // of no group
    let conv = Conv2dGeometry { groups: 1, ..conv };
    assert_eq!((conv.weight_len(), conv.flops()), (MAX, u64::MAX));
    assert!(conv.check("conv2d").is_err());
    let norm = BatchNormGeometry {
        batch: MAX,
        channels: 1,
        plane: 2,
    };
    assert_eq!(norm.count(), MAX);
    let softmax = SoftmaxGeometry {
        outer: MAX,
        extent: 2,
        inner: 0,
    };
    assert_eq!(softmax.input_len(), 0);
    let none = LossGeometry {
        rows: MAX,
        classes: MAX,
        plane: MAX,
        weights: [Broadcast::ONE; 2],
    };
    let (values, labels) = (Target::Values(vec![]), Target::Labels(vec![]));
    assert!(Loss::mean_squared_error().normaliser(&values, &none) > 1e38);
    assert!(values.check(&Loss::mean_squared_error(), &none).is_err());
    assert!(labels.check(&Loss::nll().into(), &none).is_err());
}

#[test]
fn too_much_padding_is_what_a_transpose_convolution_names() {
    let said = |padding: usize| {
        let layer = ConvTranspose2d::new(4, 3).padding(padding);
        let refused = layer.geometry(1, &[3, 8, 8].into());
        refused.unwrap_err().to_string()
    };
    assert!(
        said(5).contains("larger than its padding of 5 and 5, got 10"),
        "{}",
        said(5)
    );
    for padding in [1 << 25, MAX] {
        assert!(said(padding).starts_with("conv_transpose2d padding: "));
    }
    assert!(
        ConvTranspose2d::new(4, 3)
            .padding(4)
            .geometry(1, &[3, 8, 8].into())
            .is_ok()
    );
}

#[test]
fn numbers_that_nothing_can_be_learned_with_are_refused() {
    let image: Shape = [3, 8, 8].into();
    for epsilon in [f64::NAN, -1e-5, f64::INFINITY, 1e300] {
        assert!(
            BatchNorm::new()
                .epsilon(epsilon)
                .geometry(2, &image)
                .is_err()
        );
        let layer = LayerNorm::new().epsilon(epsilon);
        assert!(layer.parameters(&[&image]).is_err());
    }
    for momentum in [f64::NAN, -0.1, 1.1] {
        assert!(
            BatchNorm::new()
                .momentum(momentum)
                .geometry(2, &image)
                .is_err()
        );
    }
    for norm in [f64::NAN, 0.0, -1.0, 1e-320, 1e-46, 1e39, f64::INFINITY] {
        assert!(check_clip_norm(norm).is_err(), "{norm}");
    }
    check_clip_norm(1e-30).unwrap();
    for init in [
        Init::Constant(f32::NAN),
        Init::Constant(f32::INFINITY),
        Init::Normal(f32::NAN),
        Init::Normal(-1e-3),
        Init::Normal(f32::MAX),
    ] {
        assert!(Conv2d::new(1, 1).init(init).parameters(&[&image]).is_err());
        assert!(
            ConvTranspose2d::new(1, 1)
                .init(init)
                .parameters(&[&image])
                .is_err()
        );
        assert!(Linear::new(1).init(init).parameters(&[&image]).is_err());
    }
    for probability in [f64::NAN, -0.1, 1.0] {
        assert!(Dropout::new(probability).output_shape(&[&image]).is_err());
    }
    let said = check_epsilon("batch_norm", 1e300).unwrap_err().to_string();
    assert!(said.starts_with("batch_norm epsilon: 1"), "{said}");
    assert!(said.ends_with("is more than 32 bits hold"), "{said}");
    let said = check_epsilon("layer_norm", -1.0).unwrap_err().to_string();
    assert_eq!(said, "layer_norm epsilon: -1 is not within 0..inf");
    for small in [1e-320, 1e-60, 1e-39] {
        let said = check_epsilon("layer_norm", small).unwrap_err().to_string();
        assert!(said.ends_with("is zero in 32 bits"), "{said}");
    }
    for taken in [0.0, f64::from(f32::MIN_POSITIVE), 1e-5] {
        assert!(check_epsilon("batch_norm", taken).is_ok(), "{taken}");
    }
}
