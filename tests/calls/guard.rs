//! What a call must not do beside panicking: take for ever, or memory that its arguments do not hold.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a call may take on a busy machine.
const LONGEST: Duration = Duration::from_secs(120);

/// Bytes of an allocation at most.
const LARGEST: usize = 256 << 20;

/// Whether an allocation was larger than that.
static TOO_LARGE: AtomicBool = AtomicBool::new(false);

/// The seed and the number of the call in progress.
static CALL: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// The system's allocator, which sees how much is asked for at once.
struct Counting;

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        see(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        see(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        see(size);
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn see(size: usize) {
    if size > LARGEST && !TOO_LARGE.swap(true, Ordering::Relaxed) {
        let [seed, number] = CALL.each_ref().map(|part| part.load(Ordering::Relaxed));
        // Where there is not so much memory, this is the last that the process says.
        eprintln!("seed {seed}, call {number} asks for {size} bytes");
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The call in progress.
struct Running {
    said: String,
    since: Instant,
}

/// Looks after the call in progress from a thread of its own.
pub struct Watch(Arc<Mutex<Option<Running>>>);

fn lock(running: &Mutex<Option<Running>>) -> MutexGuard<'_, Option<Running>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    pub fn start() -> Self {
        let running = Arc::new(Mutex::new(None));
        let watched = Arc::downgrade(&running);
        std::thread::spawn(move || {
            while let Some(running) = watched.upgrade() {
                if let Some(Running { said, since }) = &*lock(&running) {
                    let too_large = TOO_LARGE.load(Ordering::Relaxed);
                    if too_large || since.elapsed() > LONGEST {
                        let what = if too_large {
                            "takes too much memory"
                        } else {
                            "does not end"
                        };
                        eprintln!("{said} {what}");
                        std::process::abort();
                    }
                }
                drop(running);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self(running)
    }

    pub fn begin(&self, seed: u64, number: u64, name: &str) {
        CALL[0].store(seed, Ordering::Relaxed);
        CALL[1].store(number, Ordering::Relaxed);
        *lock(&self.0) = Some(Running {
            said: format!("seed {seed}, call {number}: {name}"),
            since: Instant::now(),
        });
    }

    /// # Panics
    /// Where the call took more memory than any may.
    pub fn end(&self) {
        let running = lock(&self.0).take();
        let said = running.map_or(String::new(), |running| running.said);
        assert!(
            !TOO_LARGE.load(Ordering::Relaxed),
            "{said} takes too much memory"
        );
    }
}
