//! Who comes in, and when: the one shim of the process, its lock, and the thread that ends it from outside.

use std::cell::Cell;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::end::end;
use crate::kernel;
use crate::ledger::Ledger;
use crate::plan::Plan;

/// The variable that names the library's own directory.
const VARIABLE: &str = "TIDEMILL_POWER_CUT";

static SHIM: LazyLock<Option<Shim>> = LazyLock::new(Shim::start);

/// Nothing leaves the process any more, and nothing is changed but by whoever set this.
static OVER: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread is in here already: what the library itself calls goes straight through.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

struct Shim {
    data: PathBuf,
    device: u64,
    ledger: Mutex<Ledger>,
}

/// A call that came in from the process.
pub(crate) struct Visit(&'static Shim);

impl Visit {
    /// Lets a call in; `None` if it is to go straight through. After the end nothing comes back from here.
    pub(crate) fn begin() -> Option<Self> {
        if INSIDE.replace(true) {
            return None;
        }
        if OVER.load(Ordering::Acquire) {
            loop {
                thread::park();
            }
        }
        let shim = SHIM.as_ref();
        if shim.is_none() {
            INSIDE.set(false);
        }
        shim.map(Self)
    }

    /// The ledger, for this call alone.
    pub(crate) fn ledger(&self) -> MutexGuard<'static, Ledger> {
        // Whoever panicked here has ended the process.
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a descriptor is, if it may be of the data directory.
    pub(crate) fn stat(&self, fd: i32) -> Option<kernel::Stat> {
        kernel::stat(fd).filter(|stat| stat.device == self.0.device)
    }

    /// The path of a name, if it lies in the data directory.
    pub(crate) fn path(&self, directory: i32, name: &Path) -> Option<PathBuf> {
        let path = if name.is_absolute() {
            name.to_owned()
        } else if directory == libc::AT_FDCWD {
            std::env::current_dir().ok()?.join(name)
        } else {
            fs::read_link(format!("/proc/self/fd/{directory}")).ok()?.join(name)
        };
        path.strip_prefix(&self.0.data).ok().map(Path::to_owned)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

/// Ends the process in the name of a thread that holds the ledger.
pub(crate) fn over(ledger: &mut Ledger) -> ! {
    OVER.store(true, Ordering::Release);
    end(ledger)
}

impl Shim {
    /// Reads the plan; without one (in a child of the process, for the plan is taken by the first) it is idle.
    fn start() -> Option<Self> {
        let state = PathBuf::from(std::env::var_os(VARIABLE)?);
        let taken = state.join("plan.taken");
        fs::rename(state.join("plan"), &taken).ok()?;
        let text = fs::read_to_string(taken).expect("the plan can be read");
        let plan = Plan::parse(&text).unwrap_or_else(|wrong| panic!("power cut: {wrong}"));
        let data = plan.data.clone();
        let device = fs::metadata(&data).expect("the data directory is there").dev();
        let ledger = Ledger::open(plan, state).expect("the data directory can be read");
        thread::spawn(end_with_input);
        Some(Self { data, device, ledger: Mutex::new(ledger) })
    }
}

/// The harness holds the other end of standard input, and lets it go when the end is to come now.
fn end_with_input() {
    INSIDE.set(true);
    let mut input = std::io::stdin().lock();
    while !matches!(input.read(&mut [0]), Ok(0) | Err(_)) {}
    if let Some(shim) = SHIM.as_ref() {
        over(&mut Visit(shim).ledger());
    }
}
