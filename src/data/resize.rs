//! Images made larger or smaller: Pillow's bilinear filter, to the bit.
//!
//! A filter's support grows with the factor by which an image shrinks (antialiasing), rows come first, and
//! bytes are rounded after each of the two passes, in fixed point: Pillow's `Resample.c`.

/// Bits behind the point of a weight of bytes.
const PRECISION: u32 = 32 - 8 - 2;

/// The weights of a pass along one axis.
struct Filter {
    /// The first source of each target, and how many there are.
    bounds: Vec<(usize, usize)>,
    /// The weights of a target, from `stride` times its number on.
    weights: Vec<f64>,
    stride: usize,
}

impl Filter {
    fn new(source: usize, target: usize) -> Self {
        let scale = source as f64 / target as f64;
        // A triangle of this half width, in sources.
        let support = scale.max(1.0);
        let stride = (support.ceil() as usize).saturating_mul(2).min(source) + 1;
        let (mut bounds, mut weights) = (Vec::with_capacity(target), vec![0.0; target * stride]);
        for (at, weights) in weights.chunks_exact_mut(stride).enumerate() {
            let centre = (at as f64 + 0.5) * scale;
            let begin = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(source);
            let weights = &mut weights[..end - begin];
            for (step, weight) in weights.iter_mut().enumerate() {
                let distance = (begin as f64 + step as f64 - centre + 0.5) * (1.0 / support);
                *weight = (1.0 - distance.abs()).max(0.0);
            }
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
            bounds.push((begin, end - begin));
        }
        Self {
            bounds,
            weights,
            stride,
        }
    }

    /// The weights of each target, in another type.
    fn each<'a, W>(&'a self, weights: &'a [W]) -> impl Iterator<Item = (usize, &'a [W])> {
        let rows = self.bounds.iter().zip(weights.chunks_exact(self.stride));
        rows.map(|(&(begin, count), weights)| (begin, &weights[..count]))
    }
}

/// An element that can be resized.
pub(super) trait Pixel: Copy + Default {
    /// What it is multiplied with.
    type Weight: Copy;
    /// What products are added up in.
    type Sum: Copy;
    /// What a sum starts from.
    const START: Self::Sum;
    fn weight(weight: f64) -> Self::Weight;
    fn add(sum: &mut Self::Sum, pixel: Self, weight: Self::Weight);
    fn finish(sum: Self::Sum) -> Self;
}

impl Pixel for u8 {
    type Weight = i32;
    type Sum = i32;
    const START: i32 = 1 << (PRECISION - 1);

    fn weight(weight: f64) -> i32 {
        (0.5 + weight * f64::from(1 << PRECISION)) as i32
    }

    fn add(sum: &mut i32, pixel: u8, weight: i32) {
        *sum += i32::from(pixel) * weight;
    }

    fn finish(sum: i32) -> u8 {
        (sum >> PRECISION).clamp(0, 255) as u8
    }
}

impl Pixel for f32 {
    type Weight = f32;
    type Sum = f32;
    const START: f32 = 0.0;

    fn weight(weight: f64) -> f32 {
        weight as f32
    }

    fn add(sum: &mut f32, pixel: f32, weight: f32) {
        *sum += pixel * weight;
    }

    fn finish(sum: f32) -> f32 {
        sum
    }
}

/// What comes of integers is rounded to the nearest.
impl Pixel for i64 {
    type Weight = f64;
    type Sum = f64;
    const START: f64 = 0.0;

    fn weight(weight: f64) -> f64 {
        weight
    }

    fn add(sum: &mut f64, pixel: i64, weight: f64) {
        *sum += pixel as f64 * weight;
    }

    fn finish(sum: f64) -> i64 {
        sum.round_ties_even() as i64
    }
}

/// Planes `(C, H, W)` of one size in another. No extent is 0.
pub(super) fn resize<P: Pixel>(
    planes: &[P],
    [height, width]: [usize; 2],
    [to_height, to_width]: [usize; 2],
) -> Vec<P> {
    let wide = match width == to_width {
        true => planes.to_vec(),
        false => rows(planes, width, to_width),
    };
    match height == to_height {
        true => wide,
        false => columns(&wide, [height, to_width], to_height),
    }
}

/// Each row in another width.
fn rows<P: Pixel>(planes: &[P], width: usize, to_width: usize) -> Vec<P> {
    let filter = Filter::new(width, to_width);
    let weights: Vec<P::Weight> = filter.weights.iter().map(|&w| P::weight(w)).collect();
    let mut wide = Vec::with_capacity(planes.len() / width * to_width);
    for row in planes.chunks_exact(width) {
        wide.extend(filter.each(&weights).map(|(begin, weights)| {
            let mut sum = P::START;
            let pixels = &row[begin..begin + weights.len()];
            for (&pixel, &weight) in pixels.iter().zip(weights) {
                P::add(&mut sum, pixel, weight);
            }
            P::finish(sum)
        }));
    }
    wide
}

/// Each column in another height: whole rows are added up, which the compiler makes vectors of.
fn columns<P: Pixel>(planes: &[P], [height, width]: [usize; 2], to_height: usize) -> Vec<P> {
    let filter = Filter::new(height, to_height);
    let weights: Vec<P::Weight> = filter.weights.iter().map(|&w| P::weight(w)).collect();
    let mut high = Vec::with_capacity(planes.len() / height * to_height);
    let mut sums = vec![P::START; width];
    for plane in planes.chunks_exact(height * width) {
        for (begin, weights) in filter.each(&weights) {
            sums.fill(P::START);
            let rows = plane.chunks_exact(width).skip(begin);
            for (row, &weight) in rows.zip(weights) {
                for (sum, &pixel) in sums.iter_mut().zip(row) {
                    P::add(sum, pixel, weight);
                }
            }
            high.extend(sums.iter().map(|&sum| P::finish(sum)));
        }
    }
    high
}
