use wgpu_cnn::*;
#[test]
fn smoke() {
    let gpu = Gpu::new().unwrap();
    println!("{}", gpu.info().name);
    let model = || {
        Model::builder([1, 28, 28])
            .conv2d(32, 5)
            .relu()
            .max_pool2d(2)
            .conv2d(64, 5)
            .relu()
            .max_pool2d(2)
            .flatten()
            .dense(128)
            .relu()
            .dense(10)
            .build()
            .unwrap()
    };
    let n = 64;
    let x: Vec<f32> = (0..n * 784)
        .map(|i| ((i * 7919 % 1009) as f32) / 1009.0)
        .collect();
    let y: Vec<u8> = (0..n).map(|i| (i % 10) as u8).collect();
    let t = std::time::Instant::now();
    let mut a = Trainer::builder(model()).batch(n).seed(7).on(&gpu).unwrap();
    println!("built {:?} {}", t.elapsed(), a.memory().unwrap());
    let mut b = Trainer::builder(model()).batch(n).seed(7).on_cpu().unwrap();
    for i in 0..6 {
        let t = std::time::Instant::now();
        a.step(&x, &y).unwrap();
        let la = a.loss().unwrap();
        let ta = t.elapsed();
        let t = std::time::Instant::now();
        b.step(&x, &y).unwrap();
        println!(
            "{i} gpu {la} {ta:?} cpu {} {:?}",
            b.loss().unwrap(),
            t.elapsed()
        );
    }
    a.step(&x[..784 * 10], &y[..10]).unwrap();
    b.step(&x[..784 * 10], &y[..10]).unwrap();
    println!("gpu {} cpu {}", a.loss().unwrap(), b.loss().unwrap());
    for name in ["0.weight", "0.bias", "3.weight", "7.weight", "9.bias"] {
        let (ga, gb) = (a.gradient(name).unwrap(), b.gradient(name).unwrap());
        let d = ga
            .iter()
            .zip(&gb)
            .map(|(a, b)| (a - b).abs())
            .fold(0f32, f32::max);
        let m = gb.iter().map(|a| a.abs()).fold(0f32, f32::max);
        println!("{name} {d:e} of {m:e}");
    }
}
