//! The tasks of the runtime: the one place that spawns them, names them and waits for their end.

use std::future::Future;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Tasks that end with the runtime.
pub(crate) struct Tasks {
    handle: Handle,
    running: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
}

impl Tasks {
    /// Tasks that run on `handle`.
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle, running: Mutex::default() }
    }

    /// Starts a task.
    pub(crate) fn start(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.running.lock().push((name, self.handle.spawn(task)));
    }

    /// Waits until all tasks have ended, `longest` at most for each; those that go on are stopped, and said.
    pub(crate) async fn join(&self, longest: Duration) {
        let running = std::mem::take(&mut *self.running.lock());
        for (name, mut task) in running {
            match tokio::time::timeout(longest, &mut task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(task = name, "the task failed: {error}"),
                Err(_) => {
                    tracing::warn!(task = name, "the task did not end in time and is stopped");
                    task.abort();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [`crate::limits::DRAIN_MAX`], shorter.
    #[test]
    fn a_task_that_does_not_end_in_time_is_stopped() {
        let threads = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let tasks = Tasks::new(threads.handle().clone());
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        tasks.start("endless", async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        threads.block_on(tasks.join(Duration::from_millis(1)));
        assert!(threads.block_on(dropped).is_err(), "what the task held is dropped with it");
    }
}
