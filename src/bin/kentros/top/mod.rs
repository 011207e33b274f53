//! `kentros top`: an interactive full-screen view of the stats.

mod keys;
mod rates;
mod render;
#[cfg(test)]
mod render_tests;
mod rows;
mod screen;
mod state;

use std::error::Error;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use log::LevelFilter;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::stats_feed::{FeedTarget, StatsFeed, StatsUpdate};

use keys::{Key, parse_keys};
use render::{render, table_height};
use screen::TerminalScreen;
use state::TopState;

/// The options of `kentros top`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TopOptions {
    pub(crate) target: FeedTarget,
    pub(crate) interval: Duration,
    /// Show only this project.
    pub(crate) project: Option<String>,
    pub(crate) color: bool,
    /// Whether the terminal does not support escape sequences.
    pub(crate) is_dumb: bool,
}

/// An event for the drawing thread.
enum TopEvent {
    Stats(StatsUpdate),
    /// The feed failed, and why.
    FeedError(String),
    Keys(Vec<Key>),
    Resized,
    /// A signal, a closed terminal or a panic.
    Quit,
}

/// The capacity of the event queue. A slow terminal slows the feed down.
const MAX_QUEUED_EVENTS: usize = 16;
/// The delay before a failed feed is reopened.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The screen is redrawn at least this often, because stats become stale without an event.
const MAX_REDRAW_INTERVAL: Duration = Duration::from_secs(1);

/// Shows the stats until a key or a signal quits.
///
/// # Errors
/// There is no suitable terminal, or the hub is not reachable at the start. The terminal is
/// restored.
pub(crate) fn run(options: TopOptions) -> Result<(), Box<dyn Error>> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err("kentros top needs an interactive terminal. For files and pipes use \
             `kentros stats`"
            .into());
    }
    if options.is_dumb {
        return Err(
            "kentros top needs a terminal with cursor movement, but TERM is \"dumb\". Use \
             `kentros stats`"
                .into(),
        );
    }
    // Log lines would garble the screen, unless stderr is redirected.
    if io::stderr().is_terminal() {
        log::set_max_level(LevelFilter::Off);
    }
    // Connect before the screen is switched, so that an error is printed normally.
    let feed =
        StatsFeed::open(&options.target, options.project.as_deref(), options.interval, None)?;
    // A panic message would be lost with the alternate screen: print it afterwards.
    let (panic_sender, panics) = unbounded();
    panic::set_hook(Box::new(move |panic| {
        let _ = panic_sender.send(panic.to_string());
    }));
    let result = catch_unwind(AssertUnwindSafe(|| show(options, feed)));
    let _ = panic::take_hook();
    match (result, panics.try_recv()) {
        (Ok(result), Err(_)) => result,
        (_, message) => Err(message.unwrap_or_default().into()),
    }
}

fn show(options: TopOptions, feed: StatsFeed) -> Result<(), Box<dyn Error>> {
    let (events, queue) = bounded(MAX_QUEUED_EVENTS);
    let signals = Signals::new([SIGWINCH, SIGINT, SIGTERM, SIGHUP])?;
    let mut state =
        TopState::new(options.target.to_string(), options.project.clone(), options.interval);
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut screen = TerminalScreen::enter(stdout, options.color)?;
    // The threads are not joined: they may block for long, and end with the process.
    spawn("top-signals", &events, |events| read_signals(signals, events))?;
    spawn("top-keys", &events, read_keys)?;
    spawn("top-feed", &events, move |events| read_feed(feed, &options, events))?;
    draw(&mut screen, &mut state, &queue)
}

/// Draws the state after each batch of events, until one of them quits.
fn draw(
    screen: &mut TerminalScreen,
    state: &mut TopState,
    queue: &Receiver<TopEvent>,
) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    loop {
        state.set_time(start.elapsed());
        let (width, height) = screen.size();
        screen.draw(&render(state, width, height))?;
        let page = table_height(state, width, height);
        let mut next = queue.recv_timeout(MAX_REDRAW_INTERVAL).ok();
        state.set_time(start.elapsed());
        while let Some(event) = next {
            match event {
                TopEvent::Stats(update) => state.apply(update),
                TopEvent::FeedError(why) => state.set_feed_error(why),
                TopEvent::Keys(keys) => {
                    if !keys.into_iter().all(|key| state.handle_key(key, page)) {
                        return Ok(());
                    }
                }
                TopEvent::Resized => {}
                TopEvent::Quit => return Ok(()),
            }
            next = queue.try_recv().ok();
        }
    }
}

/// Spawns a thread that produces events. Its end or panic quits.
fn spawn(
    name: &'static str,
    events: &Sender<TopEvent>,
    produce: impl FnOnce(&Sender<TopEvent>) + Send + 'static,
) -> io::Result<()> {
    let events = events.clone();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _ = catch_unwind(AssertUnwindSafe(|| produce(&events)));
        let _ = events.send(TopEvent::Quit);
    })?;
    Ok(())
}

fn read_signals(mut signals: Signals, events: &Sender<TopEvent>) {
    for signal in signals.forever() {
        let event = if signal == SIGWINCH { TopEvent::Resized } else { TopEvent::Quit };
        if events.send(event).is_err() {
            return;
        }
    }
}

fn read_keys(events: &Sender<TopEvent>) {
    let mut bytes = [0; 256];
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut bytes) {
            Ok(n @ 1..) => {
                let keys = parse_keys(bytes.get(..n).unwrap_or_default());
                if events.send(TopEvent::Keys(keys)).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The terminal was closed.
            _ => return,
        }
    }
}

fn read_feed(mut feed: StatsFeed, options: &TopOptions, events: &Sender<TopEvent>) {
    loop {
        let mut why = loop {
            match feed.next(None) {
                Ok(Some(update)) => {
                    if events.send(TopEvent::Stats(update)).is_err() {
                        return;
                    }
                }
                Ok(None) => {}
                Err(why) => break why,
            }
        };
        feed = loop {
            if events.send(TopEvent::FeedError(why.to_string())).is_err() {
                return;
            }
            thread::sleep(RETRY_DELAY);
            match StatsFeed::open(
                &options.target,
                options.project.as_deref(),
                options.interval,
                None,
            ) {
                Ok(feed) => break feed,
                Err(error) => why = error,
            }
        };
    }
}
