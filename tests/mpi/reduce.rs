//! What ranks say to each other, without a training.

use wgpu_cnn::distributed::{Mpi, Reducer, Subnormals, add};
use wgpu_cnn::{Error, Result};

pub fn all() {
    let mut mpi = Mpi::new().unwrap();
    assert!(mpi.rank() < mpi.size() && mpi.local_rank() == mpi.rank());
    let again = Mpi::new().unwrap_err();
    assert!(matches!(again, Error::Argument { .. }), "{again}");
    sums_are_in_the_order_of_the_ranks(&mut mpi).unwrap();
    sums_of_f64(&mut mpi).unwrap();
    bytes(&mut mpi).unwrap();
    clones_are_one_rank(&mpi).unwrap();
    a_call_of_its_own_is_told(&mut mpi);
}

/// Of any bits, NaN and infinity among them.
fn values(rank: usize, len: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed((rank * 31 + len) as u64);
    let mut value = || match random.u8(..) {
        0 => f32::NAN,
        1 => f32::INFINITY,
        2 => -0.0,
        3..30 => f32::from_bits(random.u32(..1 << 24)),
        _ => (random.f32() - 0.5) * 10f32.powi(random.i32(-30..30)),
    };
    (0..len).map(|_| value()).collect()
}

/// A NaN's payload may be either one's.
fn bits(values: &[f32]) -> Vec<u32> {
    let plain = |value: &f32| if value.is_nan() { f32::NAN } else { *value };
    values.iter().map(|value| plain(value).to_bits()).collect()
}

fn sums_are_in_the_order_of_the_ranks(mpi: &mut Mpi) -> Result<()> {
    let (rank, size) = (mpi.rank(), mpi.size());
    // Empty, fewer than ranks, not a multiple of them; several pieces, the last one full or short.
    let piece = (1 << 20) / size * size;
    for len in [0, 1, 2, 3, 7, 4096, 10_007, piece, piece + 1] {
        for subnormals in [Subnormals::Kept, Subnormals::Zero] {
            if len >= piece && subnormals == Subnormals::Zero {
                continue; // slow to compare, and the pieces are the same
            }
            let mut sum = values(rank, len);
            mpi.sum(&mut sum, subnormals)?;
            let mut expected = values(0, len);
            for other in 1..size {
                add(&mut expected, &values(other, len), subnormals);
            }
            assert!(
                bits(&sum) == bits(&expected),
                "{len} values, {subnormals:?}"
            );
        }
    }
    Ok(())
}

fn sums_of_f64(mpi: &mut Mpi) -> Result<()> {
    let (rank, size) = (mpi.rank(), mpi.size());
    let values = |rank: usize, len: usize| -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed((rank + len) as u64);
        (0..len).map(|_| random.f64() - 0.5).collect()
    };
    for len in [0, 1, 5, (1 << 19) + 3] {
        let mut sum = values(rank, len);
        mpi.sum_f64(&mut sum)?;
        let mut expected = values(0, len);
        for other in 1..size {
            let pairs = expected.iter_mut().zip(values(other, len));
            pairs.for_each(|(sum, value)| *sum += value);
        }
        assert!(sum == expected, "{len} values");
    }
    Ok(())
}

fn bytes(mpi: &mut Mpi) -> Result<()> {
    let (rank, size) = (mpi.rank(), mpi.size());
    let own = |rank: usize, len: usize| vec![rank as u8 + 1; len];
    for len in [0, 1, 100, (4 << 20) + 5] {
        for root in 0..size {
            let mut bytes = own(rank, len);
            mpi.broadcast(&mut bytes, root)?;
            assert!(bytes == own(root, len), "{len} bytes of {root}");
        }
        let all = mpi.gather(&own(rank, len))?;
        assert!(all == (0..size).map(|rank| own(rank, len)).collect::<Vec<_>>());
    }
    for root in [size, usize::MAX] {
        let error = mpi.broadcast(&mut [], root).unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{error}");
    }
    mpi.barrier()
}

fn clones_are_one_rank(mpi: &Mpi) -> Result<()> {
    let (mut one, mut other) = (mpi.clone(), mpi.clone());
    assert_eq!(one.gather(&[1])?, other.gather(&[1])?);
    drop(one);
    other.barrier()
}

/// At last: after it the ranks are out of step.
fn a_call_of_its_own_is_told(mpi: &mut Mpi) {
    let (rank, last) = (mpi.rank(), mpi.size() - 1);
    let error = match rank {
        _ if last == 0 => return,
        rank if rank == last => mpi.sum(&mut [0.0; 5], Subnormals::Kept).unwrap_err(),
        _ => mpi.sum(&mut [0.0; 6], Subnormals::Kept).unwrap_err(),
    };
    for error in [
        error,
        mpi.barrier().unwrap_err(),
        mpi.gather(&[]).unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::Rank { rank, .. } if rank == last),
            "{error}"
        );
    }
}
