//! Handlers come, change and go: their topics, their drivers, the routes to them. Checks before it touches.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::MutexGuard;
use tidemill_bus::log::{AdminError, Topic};
use tidemill_bus::{DriverKey, HandlerId, Lane, Partition, TopicId};

use super::routes::Readers;
use super::{Change, Flow, InstallError, Shared, UnknownHandler};
use crate::config::HandlerConfig;
use crate::graph;
use crate::handler::Handler;
use crate::installed::{Installed, Settings};
use crate::limits;
use crate::note::Note;
use crate::pool::{Cell, Command};

impl Flow {
    /// Installs a handler: its topics are created where they are missing, and it takes events at once. Waits
    /// for the disk.
    pub fn install(&self, config: HandlerConfig, handler: Arc<dyn Handler>) -> Result<(), InstallError> {
        self.shared.install(config, handler)
    }

    /// Puts another version of a handler in charge, or other settings, or installs it if it is not there. A
    /// call under way ends on the old version, the next begins on the new one. With other inputs it is removed
    /// and installed anew, its group and state stay; this waits for its calls under way.
    pub fn replace(&self, config: HandlerConfig, handler: Arc<dyn Handler>) -> Result<(), InstallError> {
        self.shared.replace(config, handler)
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
        self.put_in(config, handler)
    }

    pub(crate) fn replace(
        self: &Arc<Self>,
        config: HandlerConfig,
        handler: Arc<dyn Handler>,
    ) -> Result<(), InstallError> {
        let _changing = self.begin(&config, handler.version())?;
        let Some(installed) = self.handlers.read().get(&config.name).map(Arc::clone) else {
            return self.put_in(config, handler);
        };
        self.topics(&config, handler.has_state())?;
        if installed.settings().config.inputs == config.inputs {
            installed.replace(config, handler);
            installed.cells.read().iter().for_each(Cell::rouse);
            return Ok(());
        }
        self.take_out(&installed);
        self.put_in(config, handler)
    }

    /// Begins a change: the flow runs, and `config` may run beside what is there.
    fn begin(&self, config: &HandlerConfig, version: &str) -> Result<MutexGuard<'_, Change>, InstallError> {
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
    fn topics(&self, config: &HandlerConfig, has_state: bool) -> Result<Vec<Topic>, InstallError> {
        let find = |name: &String| match self.core.log.topic(name) {
            Some(topic) => Ok(topic),
            None => {
                self.core.log.create_topic(name, None).map_err(|source| needs(&config.name, name, source))
            }
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

    fn put_in(&self, config: HandlerConfig, handler: Arc<dyn Handler>) -> Result<(), InstallError> {
        let inputs = self.topics(&config, handler.has_state())?;
        let name = config.name.clone();
        let id = self.core.log.handler_id(&name).map_err(|source| needs(&name, &name, source))?;
        let first_inputs = inputs.iter().map(|topic| topic.id).collect();
        let note = self.note(&name, id)?;
        let settings = Settings { generation: 1, config, handler, first_inputs };
        let installed = Arc::new(Installed::new(id, self.core.open(), (settings, note)));
        for topic in &inputs {
            self.attach(&installed, topic);
        }
        self.handlers.write().insert(name, Arc::clone(&installed));
        self.draw_routes();
        installed.cells.read().iter().for_each(Cell::rouse);
        Ok(())
    }

    /// What the log remembers of a handler.
    fn note(&self, name: &str, id: HandlerId) -> Result<Note, InstallError> {
        let bytes = self.core.log.note(id).map_err(|source| needs(name, name, source))?;
        match bytes {
            Some(bytes) => Note::decode(&bytes).ok_or_else(|| InstallError::Note(name.to_owned())),
            None => Ok(Note::default()),
        }
    }

    fn take_out(&self, installed: &Arc<Installed>) {
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
                cell.command(Command::Add(topic.clone()));
                continue;
            }
            let key = DriverKey { handler: installed.id, partition: Partition(partition), lane: Lane(0) };
            cells.push(Cell::new(&self.core, installed, key, [topic.clone()]));
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

    /// Starts the thread that looks after topics which come back, or grow, while handlers name them.
    pub(super) fn watch_topics(self: &Arc<Self>) -> JoinHandle<()> {
        let shared = Arc::clone(self);
        std::thread::Builder::new()
            .name("tidemill-topics".to_owned())
            .spawn(move || {
                while let Some(unknown) = shared.routes.unknown() {
                    shared.meet(unknown);
                }
            })
            .expect("the system has a thread for the topics")
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
        for installed in handlers {
            let cells: Vec<_> = installed.cells.read().iter().map(Arc::clone).collect();
            cells.iter().filter(|cell| cell.wake_moved()).for_each(|cell| {
                self.core.enqueue([Arc::clone(cell)]);
            });
        }
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

fn needs(handler: &str, what: &str, source: AdminError) -> InstallError {
    InstallError::Admin { handler: handler.to_owned(), what: what.to_owned(), source }
}
