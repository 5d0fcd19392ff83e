//! Handlers come, change and go: their topics, their drivers, the routes to them. Checks before it touches.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::MutexGuard;
use tidemill_bus::log::Topic;
use tidemill_bus::{DriverKey, HandlerId, Lane, Partition, TopicId};

use super::routes::Readers;
use super::versions::Version;
use super::{Change, Flow, InstallError, Shared, UnknownHandler};
use crate::config::HandlerConfig;
use crate::graph;
use crate::handler::Handler;
use crate::installed::{Installed, Settings};
use crate::limits;
use crate::note::Note;
use crate::pool::Cell;
use crate::trial::Trial;

impl Flow {
    /// Installs a handler: its topics are created where they are missing, and it takes events at once. Waits
    /// for the disk.
    pub fn install(&self, config: HandlerConfig, handler: Arc<dyn Handler>) -> Result<(), InstallError> {
        self.shared.install(config, handler)
    }

    /// Removes a handler; its group and state stay. Waits until its calls under way have ended and their
    /// transactions are answered.
    pub fn remove(&self, name: &str) -> Result<(), UnknownHandler> {
        self.shared.remove(name)
    }
}

impl Shared {
    pub(crate) fn install(
        self: &Arc<Self>,
        config: HandlerConfig,
        handler: Arc<dyn Handler>,
    ) -> Result<(), InstallError> {
        let _changing = self.begin(&config, handler.version())?;
        if self.handlers.read().contains_key(&config.name) {
            return Err(InstallError::Exists(config.name));
        }
        self.put_in(Version::first(config, handler))
    }

    /// Begins a change: the flow runs, and `config` may run beside what is there.
    pub(super) fn begin(
        &self,
        config: &HandlerConfig,
        version: &str,
    ) -> Result<MutexGuard<'_, Change>, InstallError> {
        let changing = self.changing.lock();
        if *changing == Change::Stopped {
            return Err(InstallError::Stopped);
        }
        self.check(config, version)?;
        Ok(changing)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), UnknownHandler> {
        let changing = self.changing.lock();
        let installed = self.find(name)?;
        if *changing == Change::Allowed {
            self.take_out(&installed);
        }
        Ok(())
    }

    /// A handler by name.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Installed>, UnknownHandler> {
        self.handlers.read().get(name).map(Arc::clone).ok_or_else(|| UnknownHandler(name.to_owned()))
    }

    fn check(&self, config: &HandlerConfig, version: &str) -> Result<(), InstallError> {
        if version.len() > limits::VERSION_BYTES {
            let (bytes, limit) = (version.len(), limits::VERSION_BYTES);
            return Err(InstallError::Version { handler: config.name.clone(), bytes, limit });
        }
        if config.inputs.is_empty() {
            return Err(InstallError::NoInput(config.name.clone()));
        }
        let handlers = self.handlers.read();
        if handlers.len() >= limits::HANDLERS && !handlers.contains_key(&config.name) {
            return Err(InstallError::TooMany(handlers.len()));
        }
        let others: Vec<_> = handlers
            .values()
            .filter(|other| *other.name != *config.name)
            .map(|other| other.settings())
            .collect();
        match graph::cycle(config, others.iter().map(|settings| &settings.config)) {
            Some(path) => Err(InstallError::Cycle { handler: config.name.clone(), path }),
            None => Ok(()),
        }
    }

    /// The inputs of a handler; they, its outputs and its dead letters are created where they are missing.
    pub(super) fn topics(&self, config: &HandlerConfig, has_state: bool) -> Result<Vec<Topic>, InstallError> {
        let find = |name: &String| match self.core.log.topic(name) {
            Some(topic) => Ok(topic),
            None => self
                .core
                .log
                .create_topic(name, None)
                .map_err(|source| InstallError::of(&config.name, name, source)),
        };
        let inputs = config.inputs.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        if has_state && let Some(second) = inputs.iter().find(|one| one.partitions != inputs[0].partitions) {
            return Err(InstallError::Partitions {
                handler: config.name.clone(),
                first: inputs[0].name.to_string(),
                first_partitions: inputs[0].partitions,
                second: second.name.to_string(),
                second_partitions: second.partitions,
            });
        }
        for name in config.outputs.iter().filter(|name| !name.contains('*')) {
            find(name)?;
        }
        find(&config.dead_letter_topic())?;
        Ok(inputs)
    }

    pub(super) fn put_in(&self, version: Version) -> Result<(), InstallError> {
        let Version { generation, config, handler, former, refused } = version;
        let inputs = self.topics(&config, handler.has_state())?;
        let name = config.name.clone();
        let id = self.core.log.handler_id(&name).map_err(|source| InstallError::of(&name, &name, source))?;
        let mut note = self.note(&name, id)?;
        if note.state_version == 0 {
            note.state_version = config.state_version;
            let noted = self.core.log.set_note(id, &note.encode());
            noted.map_err(|source| InstallError::of(&name, &name, source))?;
        }
        let first_inputs = inputs.iter().map(|topic| topic.id).collect();
        let settings = Settings { generation, config, handler, first_inputs };
        let trial = Trial::of(generation, former, refused);
        let installed = Arc::new(Installed::new(id, self.core.open(), (settings, note, trial)));
        for topic in &inputs {
            self.attach(&installed, topic);
        }
        self.handlers.write().insert(name, Arc::clone(&installed));
        self.draw_routes();
        // A driver may have had a turn before there was a route to it: it looks again.
        self.rouse_moved(&installed);
        Ok(())
    }

    /// What the log remembers of a handler.
    pub(super) fn note(&self, name: &str, id: HandlerId) -> Result<Note, InstallError> {
        let bytes = self.core.log.note(id).map_err(|source| InstallError::of(name, name, source))?;
        match bytes {
            Some(bytes) => Note::decode(&bytes).ok_or_else(|| InstallError::Note(name.to_owned())),
            None => Ok(Note::default()),
        }
    }

    pub(super) fn take_out(&self, installed: &Arc<Installed>) {
        installed.close();
        installed.cells.read().iter().for_each(Cell::rouse);
        installed.wait_for(Cell::is_quiet);
        installed.leave();
        self.handlers.write().remove(&*installed.name);
        self.draw_routes();
        self.core.close(installed.slot);
        installed.cells.write().clear();
    }

    /// Has the drivers of `installed` read `topic`, each its partition; makes those that are missing.
    fn attach(&self, installed: &Arc<Installed>, topic: &Topic) {
        let mut cells = installed.cells.write();
        for partition in 0..topic.partitions {
            if let Some(cell) = cells.get(partition as usize) {
                cell.add(topic);
                continue;
            }
            let key = DriverKey { handler: installed.id, partition: Partition(partition), lane: Lane(0) };
            cells.push(Cell::new(&self.core, installed, key, topic));
        }
    }

    /// Draws all routes anew.
    fn draw_routes(&self) {
        let mut readers: HashMap<String, Vec<Arc<Installed>>> = HashMap::new();
        for installed in self.handlers.read().values() {
            for input in &installed.settings().config.inputs {
                readers.entry(input.clone()).or_default().push(Arc::clone(installed));
            }
        }
        let mut routes: HashMap<TopicId, Readers> = HashMap::new();
        for topic in self.core.log.topics() {
            let partitions = routes.entry(topic.id).or_default();
            partitions.resize_with(topic.partitions as usize, Vec::new);
            for installed in readers.get(&*topic.name).into_iter().flatten() {
                for (readers, cell) in partitions.iter_mut().zip(&*installed.cells.read()) {
                    readers.push(Arc::clone(cell));
                }
            }
        }
        self.routes.replace(routes);
    }

    /// Starts the thread that looks after topics which come back, or grow, while handlers name them, and after the
    /// ends of trials.
    pub(super) fn run_errands(self: &Arc<Self>) -> JoinHandle<()> {
        let shared = Arc::clone(self);
        std::thread::Builder::new()
            .name("tidemill-errands".to_owned())
            .spawn(move || {
                while let Some(errand) = shared.core.errands.wait() {
                    shared.run(errand);
                }
            })
            .expect("the system has a thread for the errands")
    }

    /// Has handlers read the topics that they name and that were not there before.
    pub(crate) fn meet(&self, unknown: impl IntoIterator<Item = TopicId>) {
        let _changing = self.changing.lock();
        let topics: Vec<Topic> = unknown.into_iter().filter_map(|id| self.core.log.topic_by_id(id)).collect();
        let handlers: Vec<_> = self.handlers.read().values().map(Arc::clone).collect();
        for topic in &topics {
            for installed in handlers.iter().filter(|one| one.reads(&topic.name)) {
                if let Err(reason) = self.may_attach(installed, topic) {
                    *installed.trouble.lock() = Some(reason);
                    continue;
                }
                *installed.trouble.lock() = None;
                self.attach(installed, topic);
            }
        }
        self.draw_routes();
        for installed in &handlers {
            self.rouse_moved(installed);
        }
    }

    /// Has every driver of a handler look for more to read.
    fn rouse_moved(&self, installed: &Installed) {
        let cells = installed.cells.read();
        let woken: Vec<_> = cells.iter().filter(|cell| cell.wake_moved()).map(Arc::clone).collect();
        self.core.enqueue(woken);
    }

    /// A handler with state goes on only where all its inputs still have the same number of partitions.
    fn may_attach(&self, installed: &Installed, topic: &Topic) -> Result<(), String> {
        let settings = installed.settings();
        if !settings.handler.has_state() {
            return Ok(());
        }
        let others = settings.config.inputs.iter().filter_map(|name| self.core.log.topic(name));
        match others.into_iter().find(|other| other.partitions != topic.partitions) {
            Some(other) => Err(format!(
                "input {:?} came back with {} partitions, {:?} has {}, and it keeps state",
                topic.name, topic.partitions, other.name, other.partitions
            )),
            None => Ok(()),
        }
    }
}
