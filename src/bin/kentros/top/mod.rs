//! `kentros top`: the figures on the whole terminal, live, by project.

mod frame;
#[cfg(test)]
mod frame_tests;
mod keys;
mod rates;
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
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::feed::{Feed, From, News};

use frame::{frame, page};
use keys::{Key, keys};
use screen::Screen;
use state::State;

/// Whose figures, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TopOptions {
    pub(crate) from: From,
    pub(crate) interval: Duration,
    /// Only this project.
    pub(crate) project: Option<String>,
    pub(crate) colour: bool,
    /// Whether the terminal knows no escape codes.
    pub(crate) dumb: bool,
}

/// What happens while the figures are shown.
enum Event {
    News(News),
    /// There is no news, and why.
    Trouble(String),
    Keys(Vec<Key>),
    /// The terminal has another size.
    Resized,
    /// A signal, or the terminal's end.
    End,
}

/// Events that may wait: where the terminal is slow, the feed is slowed.
const INBOX: usize = 16;
/// How long to wait before a lost hub, or an absent engine, is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a picture stands at most: with time alone its figures get old.
const GLANCE: Duration = Duration::from_secs(1);

/// Shows figures until a key or a signal ends it.
///
/// # Errors
/// There is no terminal, or no hub at first. The terminal is as it was.
pub(crate) fn run(options: TopOptions) -> Result<(), Box<dyn Error>> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err("kentros top takes a whole terminal, and this is none: \
             kentros stats writes to files and pipes too"
            .into());
    }
    if options.dumb {
        return Err("kentros top draws on the terminal, and by TERM=dumb this one cannot: \
             kentros stats writes one table below the other"
            .into());
    }
    // Before the screen is taken: what is wrong at once is told as in any program.
    let feed = Feed::open(&options.from, options.project.as_deref(), options.interval)?;
    // A panic's words would be lost with the screen: they are told when it is back.
    let (say, said) = unbounded();
    panic::set_hook(Box::new(move |panic| {
        let _ = say.send(panic.to_string());
    }));
    let ended = catch_unwind(AssertUnwindSafe(|| show(options, feed)));
    let _ = panic::take_hook();
    match (ended, said.try_recv()) {
        (Ok(result), Err(_)) => result,
        (_, words) => Err(words.unwrap_or_default().into()),
    }
}

fn show(options: TopOptions, feed: Feed) -> Result<(), Box<dyn Error>> {
    let (events, inbox) = bounded(INBOX);
    let signals = Signals::new([SIGWINCH, SIGINT, SIGTERM, SIGHUP])?;
    let mut state = State::new(options.from.to_string(), options.project.clone(), options.interval);
    let mut screen =
        Screen::take(File::from(io::stdout().as_fd().try_clone_to_owned()?), options.colour)?;
    // None is joined: each may wait for long, and ends with the process.
    spawn("top-signals", &events, |events| tell_signals(signals, events))?;
    spawn("top-keys", &events, tell_keys)?;
    spawn("top-feed", &events, move |events| tell_news(feed, &options, events))?;
    draw(&mut screen, &mut state, &inbox)
}

/// Keeps the screen what the state is, until the end.
fn draw(
    screen: &mut Screen,
    state: &mut State,
    inbox: &Receiver<Event>,
) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    loop {
        state.tick(start.elapsed());
        let (width, height) = screen.size();
        screen.show(&frame(state, width, height))?;
        let page = page(state, width, height);
        // All that is there is one change.
        let mut event = inbox.recv_timeout(GLANCE).ok();
        state.tick(start.elapsed());
        while let Some(one) = event {
            match one {
                Event::News(news) => state.learn(news),
                Event::Trouble(why) => state.lose(why),
                Event::Keys(keys) => {
                    if !keys.into_iter().all(|key| state.press(key, page)) {
                        return Ok(());
                    }
                }
                Event::Resized => {}
                Event::End => return Ok(()),
            }
            event = inbox.try_recv().ok();
        }
    }
}

/// A thread that tells events; its panic is the end.
fn spawn(
    name: &'static str,
    events: &Sender<Event>,
    tell: impl FnOnce(&Sender<Event>) + Send + 'static,
) -> io::Result<()> {
    let events = events.clone();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _ = catch_unwind(AssertUnwindSafe(|| tell(&events)));
        let _ = events.send(Event::End);
    })?;
    Ok(())
}

fn tell_signals(mut signals: Signals, events: &Sender<Event>) {
    for signal in signals.forever() {
        let event = if signal == SIGWINCH { Event::Resized } else { Event::End };
        if events.send(event).is_err() {
            return;
        }
    }
}

fn tell_keys(events: &Sender<Event>) {
    let mut bytes = [0; 256];
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut bytes) {
            Ok(n @ 1..) => {
                let keys = keys(bytes.get(..n).unwrap_or_default());
                if events.send(Event::Keys(keys)).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The terminal has gone.
            _ => return,
        }
    }
}

fn tell_news(mut feed: Feed, options: &TopOptions, events: &Sender<Event>) {
    loop {
        let mut why = loop {
            match feed.next(None) {
                Ok(Some(news)) => {
                    if events.send(Event::News(news)).is_err() {
                        return;
                    }
                }
                Ok(None) => {}
                Err(why) => break why,
            }
        };
        feed = loop {
            if events.send(Event::Trouble(why.to_string())).is_err() {
                return;
            }
            thread::sleep(PAUSE);
            match Feed::open(&options.from, options.project.as_deref(), options.interval) {
                Ok(feed) => break feed,
                Err(error) => why = error,
            }
        };
    }
}
