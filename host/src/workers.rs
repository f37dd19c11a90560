//! The bounded pool for costly work on what strangers can send or write: regular expressions and fuzzy searches from
//! query strings, HTML from descriptions.
//!
//! A fixed number of threads does it, a bounded number of jobs waits, and each job has a [`Deadline`]. A job also ends
//! when nobody waits for its result any more: the future of a request whose client left is dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

/// The table `[workers]` of settings.toml.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerSettings {
    /// Threads; 0 = one fewer than there are processors, at least 2.
    pub threads: usize,
    /// Jobs that may wait for a thread.
    pub queue: usize,
    /// Longest time of a job in seconds, waiting for a thread included.
    pub seconds: f64,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            threads: 0,
            queue: 64,
            seconds: 10.0,
        }
    }
}

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// All threads are busy and the queue is full.
    #[error("The server is busy with other searches; try again in a moment.")]
    Busy,
    /// The time was over.
    #[error("This took longer than {} s and was ended; ask for less, or raise `seconds` under [workers] in settings.toml.", .0.as_secs_f64())]
    Late(Duration),
    /// The job panicked; the log has the panic.
    #[error("a job of the worker pool panicked")]
    Panicked,
}

/// When a job has to end. Long loops ask [`Deadline::is_over`] every few hundred records.
#[derive(Debug, Clone, Default)]
pub struct Deadline(Option<(CancellationToken, Instant)>);

impl Deadline {
    fn within(time: Duration) -> Self {
        let until = Instant::now() + time;
        Self(Some((CancellationToken::new(), until)))
    }

    /// Whether the job has to end: its time is over, or nobody waits for its result. What it computed so far is
    /// incomplete and is dropped. The default deadline is never over.
    pub fn is_over(&self) -> bool {
        let over = |(token, until): &(CancellationToken, Instant)| token.is_cancelled() || Instant::now() >= *until;
        self.0.as_ref().is_some_and(over)
    }
}

/// See the module.
pub struct Workers {
    pool: rayon::ThreadPool,
    // Threads and places in the queue.
    places: Arc<Semaphore>,
    time: Duration,
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// When threads can't be started.
    pub fn new(settings: &WorkerSettings) -> Result<Self, rayon::ThreadPoolBuildError> {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let threads = match settings.threads {
            0 => processors.saturating_sub(1).max(2),
            threads => threads.min(256),
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("worker-{index}"))
            // Without a handler a panic would end the process; the one who waits is told by the dropped sender.
            .panic_handler(|_| tracing::error!("a job of the worker pool panicked"))
            .build()?;
        Ok(Self {
            pool,
            places: Arc::new(Semaphore::new(threads + settings.queue.min(100_000))),
            time: Duration::try_from_secs_f64(settings.seconds)
                .unwrap_or_default()
                .clamp(Duration::from_millis(1), Duration::from_secs(3600)),
        })
    }

    /// Runs a job on one of the threads. When the future is dropped, the job's deadline is over.
    ///
    /// # Errors
    /// When too much waits, the job's time is over, or it panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Deadline) -> T + Send + 'static,
    ) -> Result<T, WorkError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| WorkError::Busy)?;
        let deadline = Deadline::within(self.time);
        let _ends_when_dropped = deadline.0.as_ref().map(|(token, _)| token.clone().drop_guard());
        let (sender, receiver) = oneshot::channel();
        let own = deadline.clone();
        self.pool.spawn(move || {
            let _place = place;
            if own.is_over() {
                return;
            }
            let result = job(&own);
            if !own.is_over() {
                let _ = sender.send(result);
            }
        });
        match tokio::time::timeout(self.time, receiver).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) if !deadline.is_over() => Err(WorkError::Panicked),
            Ok(Err(_)) | Err(_) => Err(WorkError::Late(self.time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn workers(threads: usize, queue: usize, seconds: f64) -> Arc<Workers> {
        let settings = WorkerSettings {
            threads,
            queue,
            seconds,
        };
        Arc::new(Workers::new(&settings).unwrap())
    }

    /// A job that runs until its deadline, and says that it ended.
    fn endless(deadline: &Deadline, started: &mpsc::Sender<()>, ended: &mpsc::Sender<()>) {
        started.send(()).unwrap();
        while !deadline.is_over() {
            std::thread::sleep(Duration::from_millis(1));
        }
        ended.send(()).unwrap();
    }

    #[tokio::test]
    async fn a_job_ends_when_nobody_waits_for_it() {
        let workers = workers(1, 4, 3600.0);
        let ((started, starts), (ended, ends)) = (mpsc::channel(), mpsc::channel());
        let own = workers.clone();
        let waiting = tokio::spawn(async move { own.run(move |deadline| endless(deadline, &started, &ended)).await });
        tokio::task::spawn_blocking(move || starts.recv())
            .await
            .unwrap()
            .unwrap();
        waiting.abort();
        tokio::task::spawn_blocking(move || ends.recv()).await.unwrap().unwrap();
        assert_eq!(workers.run(|_| 5).await, Ok(5));
    }

    #[tokio::test]
    async fn a_job_ends_when_its_time_is_over() {
        let workers = workers(1, 4, 0.05);
        let (sender, _receiver) = mpsc::channel();
        let (also, _other) = mpsc::channel();
        let outcome = workers.run(move |deadline| endless(deadline, &sender, &also)).await;
        assert_eq!(outcome, Err(WorkError::Late(Duration::from_millis(50))));
    }

    #[tokio::test]
    async fn what_the_queue_has_no_room_for_is_refused_and_a_panic_ends_its_job_alone() {
        let workers = workers(1, 0, 3600.0);
        let ((started, starts), (ended, _ends)) = (mpsc::channel(), mpsc::channel());
        let own = workers.clone();
        let waiting = tokio::spawn(async move { own.run(move |deadline| endless(deadline, &started, &ended)).await });
        tokio::task::spawn_blocking(move || starts.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(workers.run(|_| ()).await, Err(WorkError::Busy));
        waiting.abort();
        let mut outcome = Err(WorkError::Busy);
        while outcome == Err(WorkError::Busy) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            outcome = workers.run(|_| panic!("on purpose")).await;
        }
        assert_eq!(outcome, Err::<(), _>(WorkError::Panicked));
    }
}
