//! The soak harness: a real runtime does everything at once for a long time, at half of what it can do, and neither
//! memory, descriptors, disk nor latency may grow; every output must come once and in order.

mod clock;
mod directory;
mod end;
mod flow;
mod follow;
mod peak;
mod plot;
mod publish;
mod reload;
mod run;
mod sample;
mod schedule;
mod sequence;
mod series;
mod verdict;

pub use plot::draw;
pub use run::{Report, SoakOptions, run};
pub use sample::Sample;
pub use series::{SERIES, Series, csv};
pub use verdict::{Judgement, Verdict};
