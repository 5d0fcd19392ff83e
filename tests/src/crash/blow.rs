//! How the next process is to die: drawn so that each named point comes often enough, the slow ones no more.

use std::collections::{BTreeMap, VecDeque};

use super::power::{Plan, Syncs};
use super::run::Fault;

/// Places in the runtime where it can be told to kill itself, as `tidemill_bus::crash` names them, and up to
/// which hit. Those around a write are passed all the time.
const POINTS: [(&str, u64); 3] = [("before-write", 40), ("after-write", 40), ("after-sync", 40)];

/// Those that are passed at or after a checkpoint only, or when a plugin was compiled: a kill there costs as much.
const SLOW_POINTS: [(&str, u64); 5] = [
    ("checkpoint", 1),
    ("segment-release", 2),
    ("segment-copy", 3),
    ("segment-settled", 3),
    ("plugin-swap", 4),
];

/// How often each point must be hit in a long run.
const HITS_MIN: u64 = 20;

/// How a process dies.
#[derive(Clone, Debug)]
pub(super) enum Blow {
    /// Killed from outside at a random moment under load.
    Moment,
    /// By itself, at this hit of a crash point.
    Point(&'static str, u64),
    /// As the power-cut library is told.
    Power(Plan),
}

impl Blow {
    /// What the report calls it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Moment => "random",
            Self::Point(name, _) => name,
            Self::Power(plan) => plan.name,
        }
    }

    /// Whether the process may end without being told to.
    pub(super) fn ends_by_itself(&self) -> bool {
        match self {
            Self::Moment => false,
            Self::Point(..) => true,
            Self::Power(plan) => plan.at.is_some(),
        }
    }

    /// Whether it can come only at or after a checkpoint.
    pub(super) fn wants_checkpoints(&self) -> bool {
        matches!(self, Self::Point(point, _) if SLOW_POINTS.iter().any(|(name, _)| name == point))
    }

    /// Whether the runtime may say that it takes no more, and go on living.
    pub(super) fn stops_the_store(&self) -> bool {
        matches!(self, Self::Power(Plan { syncs: Syncs::JournalFails(_), .. }))
    }
}

/// The blows of a run, and how often each point was hit.
pub(super) struct Blows {
    total: u64,
    /// What power cuts are still to come, if the power is cut, and the fault that they are to find.
    plans: Option<(Fault, VecDeque<Plan>)>,
}

impl Blows {
    /// Kills at crash points and at random.
    pub(super) fn kills(total: u64) -> Self {
        Self { total, plans: None }
    }

    /// Power cuts, with the kills and failed syncs that go before them.
    pub(super) fn power_cuts(total: u64, fault: Fault) -> Self {
        Self { total, plans: Some((fault, VecDeque::from([Plan::first()]))) }
    }

    /// The next, after so many kills by name.
    pub(super) fn next(&mut self, random: &mut fastrand::Rng, kills: &BTreeMap<&'static str, u64>) -> Blow {
        if let Some((fault, plans)) = &mut self.plans {
            loop {
                match plans.pop_front() {
                    Some(plan) => return Blow::Power(plan),
                    None => plans.extend(Plan::draw(*fault, random)),
                }
            }
        }
        let done: u64 = kills.values().sum();
        // Twice what is asked for, spread evenly: those that the process does not reach in time count as random.
        let due = 2 * self.hits_min() * (done + 1) / self.total.max(1);
        let late = SLOW_POINTS.into_iter().find(|(name, _)| hits(kills, name) < due);
        let point = late.or_else(|| random.bool().then(|| POINTS[random.usize(..POINTS.len())]));
        point.map_or(Blow::Moment, |(name, most)| Blow::Point(name, random.u64(1..=most)))
    }

    /// Hits that each point must have at the end: [`HITS_MIN`] of a long run, fewer of a short one.
    pub(super) fn hits_min(&self) -> u64 {
        HITS_MIN.min(self.total / 100)
    }

    /// Points that were hit too rarely.
    pub(super) fn missed(&self, kills: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
        if self.plans.is_some() {
            return Vec::new();
        }
        let points = POINTS.into_iter().chain(SLOW_POINTS).map(|(name, _)| name);
        points.filter(|name| hits(kills, name) < self.hits_min()).collect()
    }
}

fn hits(kills: &BTreeMap<&'static str, u64>, name: &str) -> u64 {
    kills.get(name).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_comes_often_enough_and_the_slow_ones_no_more() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut blows = Blows::kills(10_000);
        let mut kills = BTreeMap::new();
        for _ in 0..10_000 {
            *kills.entry(blows.next(&mut random, &kills).name()).or_default() += 1;
        }
        assert_eq!(blows.missed(&kills), [""; 0]);
        assert!(SLOW_POINTS.into_iter().all(|(name, _)| kills[name] <= 2 * HITS_MIN), "{kills:?}");
        assert_eq!(blows.missed(&BTreeMap::new()).len(), POINTS.len() + SLOW_POINTS.len());
    }

    #[test]
    fn every_series_of_plans_ends_with_a_cut() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..1_000 {
            let series = Plan::draw(Fault::None, &mut random);
            let ends: Vec<_> = series.iter().map(|plan| plan.end == super::super::power::End::Cut).collect();
            assert!(ends.last() == Some(&true) && ends.iter().filter(|is_cut| **is_cut).count() == 1);
        }
    }
}
