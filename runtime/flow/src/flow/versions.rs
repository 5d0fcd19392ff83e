//! One version of a handler after the other: put on trial, brought back, put in charge. Waits for the disk; runs on
//! whoever changes handlers, never on a worker.

use std::sync::Arc;

use super::{Change, Flow, InstallError, OperateError, Shared};
use crate::config::HandlerConfig;
use crate::handler::Handler;
use crate::installed::{Installed, Settings};
use crate::pool::{Cell, Errand};
use crate::status::RefusedVersion;

/// A version that is to take the next calls.
pub(super) struct Version {
    pub(super) generation: u64,
    pub(super) config: HandlerConfig,
    pub(super) handler: Arc<dyn Handler>,
    /// What comes back if it fails before its first commit in a partition; without it there is no trial.
    pub(super) former: Option<Arc<Settings>>,
    /// The last version that failed so.
    pub(super) refused: Option<RefusedVersion>,
}

impl Version {
    /// The first of its handler.
    pub(super) fn first(config: HandlerConfig, handler: Arc<dyn Handler>) -> Self {
        Self { generation: 1, config, handler, former: None, refused: None }
    }
}

impl Flow {
    /// Puts another version of a handler, or other settings, on trial, or installs it if it is not there. A call
    /// under way ends on the version before, the next begins on the new one. With other inputs it is removed and
    /// installed anew, its group and state stay; this waits for its calls under way. Waits for the disk.
    ///
    /// Until its first commit in a partition that settles an event, whatever the new version fails at there (a
    /// fault, attempts used up, a batch of which it gives up every event) brings the version in charge back for the
    /// whole handler: nothing of the call is done, no attempt is counted, no event goes to the dead letters, and the
    /// status says which version was refused and why. When it has had such a commit in every partition, it is noted
    /// to be in charge. A version that has had none anywhere is no help and does not come back: without one that is
    /// known to work there is no trial.
    ///
    /// A version with another [`HandlerConfig::state_version`] than the state of its group has gets no call.
    pub fn replace(&self, config: HandlerConfig, handler: Arc<dyn Handler>) -> Result<(), InstallError> {
        self.shared.replace(config, handler)
    }

    /// The version of a handler that is noted to be in charge, installed or not; `None` if none has proved itself.
    ///
    /// Whoever installs handlers after a start asks here first: if the newest version is another one, the version
    /// in charge is installed and the newest put on trial with [`Flow::replace`].
    pub fn in_charge(&self, name: &str) -> Result<Option<String>, InstallError> {
        self.shared.in_charge(name)
    }

    /// Says that the state of a handler's group is fit for the `state-version` that the handler wants now: it goes
    /// on from there, and its version is in charge. Waits for the disk.
    pub fn adopt_state(&self, name: &str) -> Result<(), OperateError> {
        self.shared.adopt_state(name)
    }
}

impl Shared {
    pub(crate) fn replace(
        self: &Arc<Self>,
        config: HandlerConfig,
        handler: Arc<dyn Handler>,
    ) -> Result<(), InstallError> {
        let _changing = self.begin(&config, handler.version())?;
        let name = config.name.clone();
        let Some(installed) = self.handlers.read().get(&name).map(Arc::clone) else {
            return self.put_in(Version::first(config, handler));
        };
        let (generation, refused) = (installed.generation() + 1, installed.trial.refused());
        let mut former = installed.trial.former();
        if former.is_none() && installed.has_proved() && installed.unfit().is_none() {
            self.take_charge(&installed)?;
            former = Some(installed.settings());
        }
        self.switch(&installed, Version { generation, config, handler, former, refused })
    }

    /// Has `version` take the next calls.
    fn switch(&self, installed: &Arc<Installed>, version: Version) -> Result<(), InstallError> {
        self.topics(&version.config, version.handler.has_state())?;
        let before = installed.settings();
        if before.config.inputs != version.config.inputs {
            self.take_out(installed);
            return self.put_in(version);
        }
        let Version { generation, config, handler, former, .. } = version;
        let first_inputs = before.first_inputs.clone();
        installed.replace(Settings { generation, config, handler, first_inputs }, former);
        installed.cells.read().iter().for_each(Cell::rouse);
        Ok(())
    }

    /// Notes that the version that a handler has is in charge, unless it cannot use the state.
    fn take_charge(&self, installed: &Installed) -> Result<(), InstallError> {
        if installed.unfit().is_none() {
            let (mut note, settings) = (installed.note(), installed.settings());
            note.take_charge(settings.handler.version(), settings.config.state_version);
            let noted = installed.set_note(&*self.core.log, note);
            noted.map_err(|source| InstallError::of(&installed.name, &installed.name, source))?;
        }
        Ok(())
    }

    /// Looks after what workers and the committer left to do.
    pub(crate) fn run(&self, errand: Errand) {
        if !errand.unknown.is_empty() {
            self.meet(errand.unknown);
        }
        errand.tried.values().for_each(|installed| self.conclude(installed));
    }

    /// Ends the trial of a handler's version, if it is over: the former version comes back, or the new one is in
    /// charge.
    fn conclude(&self, installed: &Arc<Installed>) {
        let changing = self.changing.lock();
        let lives = self.find(&installed.name).is_ok_and(|found| Arc::ptr_eq(&found, installed));
        if *changing == Change::Stopped || !lives {
            return;
        }
        let generation = installed.generation();
        if !installed.trial.is_of(generation) {
            if installed.has_proved() {
                self.note_proof(installed);
            }
        } else if installed.trial.has_failed(generation) {
            let gone_back = self.go_back(installed).map_err(|error| {
                format!("its version failed on trial, and the former one cannot come back: {error}")
            });
            *installed.trouble.lock() = gone_back.err();
        } else if installed.unproved() == 0 && self.note_proof(installed) {
            installed.trial.end();
        }
    }

    /// As [`Shared::take_charge`]: false if the log does not take it now. That harms nobody: the version goes on, and
    /// after a restart it is tried once more.
    fn note_proof(&self, installed: &Installed) -> bool {
        self.take_charge(installed).is_ok()
    }

    fn go_back(&self, installed: &Arc<Installed>) -> Result<(), InstallError> {
        let former = installed.trial.former().expect("a version on trial has a former one");
        let version = Version {
            generation: installed.generation() + 1,
            config: former.config.clone(),
            handler: Arc::clone(&former.handler),
            former: None,
            refused: installed.trial.refused(),
        };
        self.switch(installed, version)
    }

    pub(crate) fn in_charge(&self, name: &str) -> Result<Option<String>, InstallError> {
        let id = self.core.log.handler_id(name).map_err(|source| InstallError::of(name, name, source))?;
        let version = self.note(name, id)?.version;
        Ok((!version.is_empty()).then_some(version))
    }

    pub(crate) fn adopt_state(&self, name: &str) -> Result<(), OperateError> {
        let (_changing, installed) = self.noted(name, |installed, note| {
            let settings = installed.settings();
            note.take_charge(settings.handler.version(), settings.config.state_version);
        })?;
        let settings = installed.settings();
        // Counted as another version: drivers that held it to be on trial look again.
        let same = Settings {
            generation: settings.generation + 1,
            config: settings.config.clone(),
            handler: Arc::clone(&settings.handler),
            first_inputs: settings.first_inputs.clone(),
        };
        installed.replace(same, None);
        installed.cells.read().iter().for_each(Cell::rouse);
        Ok(())
    }

    /// Begins anew with a handler whose group was reset or deleted: its name has another id.
    pub(super) fn renew(&self, installed: &Arc<Installed>) -> Result<(), InstallError> {
        let settings = installed.settings();
        self.take_out(installed);
        self.put_in(Version {
            generation: settings.generation + 1,
            config: settings.config.clone(),
            handler: Arc::clone(&settings.handler),
            former: None,
            refused: installed.trial.refused(),
        })
    }
}
