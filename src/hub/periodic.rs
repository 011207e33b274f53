//! A thread that runs a task at each tick while the hub has listeners.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};

use super::interest_channel::{self, InterestReceiver};
use super::schedule::{Schedule, next_tick};
use crate::{Error, HubHandle, Interest, threads};

/// How long a task keeps its resources after the last listener has left, so that reloading a page
/// is fast.
const LINGER: Duration = Duration::from_secs(30);
/// Maximum number of calls queued for a task.
const MAX_CALLS: usize = 64;

/// A task of such a thread. All methods are called on that thread.
pub(crate) trait PeriodicTask: Send + 'static {
    /// The first listener has connected. A tick follows.
    fn start(&mut self);

    /// A tick is due. `interest` is the combined interest of the listeners.
    fn tick(&mut self, interest: &Interest);

    /// The last listener has disconnected.
    fn idle(&mut self);

    /// There has been no listener for a while, or the task ends. Releases resources.
    fn pause(&mut self);
}

/// A closure to run on the task's thread between two ticks.
pub(crate) type TaskCall<T> = Box<dyn FnOnce(&mut T) + Send>;

/// A running streamer; see [`HubHandle::publish_every`] and [`HubHandle::start_stats_streamer`].
///
/// Dropping it leaves the streamer running until the hub stops.
///
/// ```
/// use std::time::Duration;
/// use kentros::{Hub, HubConfig, SourceError};
///
/// let hub = Hub::spawn(HubConfig::default())?;
/// let answer = || Ok::<_, SourceError>(42);
/// let streamer = hub.handle().publish_every(Duration::from_secs(1), "answer", answer)?;
/// streamer.stop();
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Debug)]
pub struct Streamer {
    stop: Sender<()>,
    ended: Receiver<()>,
}

impl Streamer {
    /// A channel that disconnects when the streamer's thread has ended.
    pub(crate) fn ended(&self) -> &Receiver<()> {
        &self.ended
    }

    /// Stops the streamer. Waits for a call of the source in progress; returns when the source has
    /// been dropped.
    pub fn stop(self) {
        let _ = self.stop.send(());
        // Nothing is ever sent: the channel disconnects at the end.
        let _ = self.ended.recv();
    }
}

/// Runs `task` on a new thread until the streamer or the hub is stopped.
pub(crate) fn spawn<T: PeriodicTask>(
    hub: &HubHandle,
    thread_name: &str,
    schedule: Schedule,
    task: T,
) -> Result<(Streamer, Sender<TaskCall<T>>), Error> {
    let (stop, stopped) = bounded(1);
    let (ending, ended) = bounded::<()>(0);
    let (calls, inbox) = bounded(MAX_CALLS);
    let (sender, interest) = interest_channel::channel();
    let schedule = schedule.clamped();
    let periodic = PeriodicLoop {
        interest,
        stopped,
        calls: inbox,
        schedule,
        task,
        next: None,
        pause_at: None,
    };
    let thread = threads::spawn(thread_name, move || {
        periodic.run();
        drop(ending);
    })
    .map_err(|error| Error::io("cannot start a streamer", error))?;
    let streamer = Streamer { stop, ended };
    if let Err(error) = hub.attach_streamer(sender, thread, streamer.ended.clone()) {
        streamer.stop();
        return Err(error);
    }
    Ok((streamer, calls))
}

struct PeriodicLoop<T> {
    interest: InterestReceiver,
    stopped: Receiver<()>,
    calls: Receiver<TaskCall<T>>,
    schedule: Schedule,
    task: T,
    /// When the next tick is due; `None` without listeners.
    next: Option<Instant>,
    pause_at: Option<Instant>,
}

impl<T: PeriodicTask> PeriodicLoop<T> {
    fn run(mut self) {
        loop {
            let tick = match (&self.schedule, self.next) {
                (_, None) => never(),
                (Schedule::Every(_), Some(next)) => at(next),
                (Schedule::Ticks(ticks), Some(_)) => ticks.clone(),
            };
            let pause = self.pause_at.map_or_else(never, at);
            select! {
                // Dropping the `Streamer` does not stop the thread.
                recv(self.stopped) -> stop => match stop {
                    Ok(()) => break,
                    Err(_) => self.stopped = never(),
                },
                recv(self.interest.changed) -> hub => match hub {
                    Ok(()) => self.interest_changed(),
                    Err(_) => break,
                },
                recv(self.calls) -> call => match call {
                    Ok(call) => call(&mut self.task),
                    Err(_) => self.calls = never(),
                },
                recv(tick) -> tick => match tick {
                    Ok(_) => self.tick(),
                    // The sender of ticks was dropped: there are no more ticks.
                    Err(_) => self.schedule = Schedule::Ticks(never()),
                },
                recv(pause) -> _ => {
                    self.pause_at = None;
                    self.task.pause();
                }
            }
        }
        self.task.pause();
    }

    fn interest_changed(&mut self) {
        match (self.interest.get(), self.next) {
            (Some(_), None) => {
                self.pause_at = None;
                self.next = Some(Instant::now());
                self.task.start();
            }
            (None, Some(_)) => {
                self.next = None;
                self.pause_at = Some(Instant::now() + LINGER);
                self.task.idle();
            }
            _ => {}
        }
    }

    fn tick(&mut self) {
        let Some(interest) = self.interest.get() else { return };
        self.task.tick(&interest);
        if let (Schedule::Every(interval), Some(due)) = (&self.schedule, self.next) {
            self.next = Some(next_tick(due, *interval, Instant::now()));
        }
    }
}
