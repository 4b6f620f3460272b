//! The page's training as a program: prints the loss of each step, as bits, for the tests to compare.
//!
//! ```sh
//! cargo run --example page -- 30 64 0.001
//! ```

#[allow(dead_code)] // the page calls the rest
mod session;

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use wgpu_cnn::Gpu;
use wgpu_cnn::data::{Memory, Split};

use session::{Session, Start};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |usual: &str| arguments.next().unwrap_or_else(|| usual.into());
    let steps: usize = next("30").parse()?;
    let start = Start {
        batch: next("64").parse()?,
        rate: next("0.001").parse()?,
        checkpoint: None,
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/fashion-mnist");
    let train = Memory::read_mnist(&folder, Split::Train)?;
    let test = Memory::read_mnist(&folder, Split::Test)?;

    // A browser has no subgroups as yet.
    let gpu = Gpu::builder().allow_subgroups(false).build()?;
    let begin = Instant::now();
    let mut session = pollster::block_on(Session::new(gpu, train, test, start))?;
    let ready = begin.elapsed();
    let begin = Instant::now();
    for _ in 0..steps {
        pollster::block_on(session.step())?;
        println!("{:08x}", pollster::block_on(session.loss())?.to_bits());
    }
    let (adapter, each) = (
        &session.gpu().info().name,
        begin.elapsed() / steps.max(1) as u32,
    );
    eprintln!("{adapter}: ready in {ready:.2?}, {each:.2?} a step");
    Ok(())
}
