//! Limits how often tokens can be guessed.
//!
//! A network that has sent wrong tokens has to wait before its next token is checked, even if that
//! is the right one: the server cannot know before the check. Other networks never wait.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::server::network::network_of;

/// Number of wrong tokens of one network that cause no delay, for typing errors.
const FREE: u32 = 5;
/// A network's count of wrong tokens falls by one in this time. An outdated token that a program
/// sends every 15 seconds causes no delay for others at its address.
const FORGET_ONE: Duration = Duration::from_secs(10);
/// The first delay. Each further wrong token doubles it.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// How often the delay doubles: up to 32 seconds.
const MAX_DOUBLINGS: u32 = 5;
/// Number of wrong tokens of all networks together, above which each network waits from its first
/// wrong token on.
const FREE_IN_ALL: u32 = 100;
/// The count of all networks falls by one in this time.
const FORGET_ONE_IN_ALL: Duration = Duration::from_millis(100);
/// Maximum number of remembered networks, which take about half a MiB.
const MAX_NETWORKS: usize = 4096;

/// Decides when a network's tokens are checked.
pub(super) struct GuessLimiter {
    networks: HashMap<IpAddr, WrongTokens>,
    in_all: DecayingCount,
}

/// The recent wrong tokens of a network.
struct WrongTokens {
    count: DecayingCount,
    /// No token of the network is checked before this time.
    blocked_until: Instant,
}

impl GuessLimiter {
    pub(super) fn new(now: Instant) -> Self {
        Self { networks: HashMap::new(), in_all: DecayingCount::new(now) }
    }

    /// The time until a token from this address may be checked; `None` if it may be now.
    pub(super) fn delay(&self, client: SocketAddr, now: Instant) -> Option<Duration> {
        let wrong = self.networks.get(&network_of(client))?;
        Some(wrong.blocked_until.saturating_duration_since(now)).filter(|delay| !delay.is_zero())
    }

    /// Counts a wrong token.
    pub(super) fn add_wrong_token(&mut self, client: SocketAddr, now: Instant) {
        let in_all = self.in_all.increment(now, FORGET_ONE_IN_ALL, 2 * FREE_IN_ALL);
        let free = if in_all > FREE_IN_ALL { 0 } else { FREE };
        let network = network_of(client);
        if !self.networks.contains_key(&network) {
            self.make_room();
        }
        let wrong = self
            .networks
            .entry(network)
            .or_insert_with(|| WrongTokens { count: DecayingCount::new(now), blocked_until: now });
        let count = wrong.count.increment(now, FORGET_ONE, FREE + MAX_DOUBLINGS + 1);
        if let Some(doublings) = count.checked_sub(free + 1) {
            wrong.blocked_until = now + FIRST_DELAY * (1 << doublings.min(MAX_DOUBLINGS));
        }
    }

    /// Makes room for one more network, by forgetting the half with the fewest wrong tokens.
    fn make_room(&mut self) {
        if self.networks.len() < MAX_NETWORKS {
            return;
        }
        let ends = self.networks.iter().map(|(network, wrong)| (wrong.count.zero_at, *network));
        let mut ends: Vec<(Instant, IpAddr)> = ends.collect();
        ends.sort_unstable();
        for (_, network) in ends.iter().take(MAX_NETWORKS / 2) {
            self.networks.remove(network);
        }
    }
}

/// A count that falls by one per period.
struct DecayingCount {
    zero_at: Instant,
}

impl DecayingCount {
    fn new(now: Instant) -> Self {
        Self { zero_at: now }
    }

    /// Adds one and returns the count, rounded up and at most `max`.
    fn increment(&mut self, now: Instant, period: Duration, max: u32) -> u32 {
        let left = self.zero_at.saturating_duration_since(now) + period;
        self.zero_at = now + left.min(period * max);
        let count = left.as_millis().div_ceil(period.as_millis());
        u32::try_from(count).unwrap_or(max).min(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 4711)
    }

    /// The n-th address of a network for tests, each of another network.
    fn numbered(n: u32) -> SocketAddr {
        SocketAddr::new(IpAddr::V4((0x0a00_0000 + n).into()), 4711)
    }

    /// Guesses every 100 ms for this time. Returns the seconds at which a token was checked.
    fn guess(limiter: &mut GuessLimiter, from: &str, start: Instant, time: Duration) -> Vec<f64> {
        let step = Duration::from_millis(100);
        let mut checked = Vec::new();
        let mut at = Duration::ZERO;
        while at < time {
            if limiter.delay(client(from), start + at).is_none() {
                limiter.add_wrong_token(client(from), start + at);
                checked.push(at.as_secs_f64());
            }
            at += step;
        }
        checked
    }

    #[test]
    fn the_delay_grows_with_each_wrong_token() {
        let start = Instant::now();
        let mut limiter = GuessLimiter::new(start);
        let mut now = start;
        let delays: Vec<u64> = (0..10)
            .map(|_| {
                limiter.add_wrong_token(client("203.0.113.7"), now);
                let delay = limiter.delay(client("203.0.113.7"), now).unwrap_or_default();
                now += delay;
                delay.as_secs()
            })
            .collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 1, 2, 4, 8, 8]);
    }

    #[test]
    fn one_network_gets_six_guesses_a_minute_and_others_do_not_wait() {
        let start = Instant::now();
        let mut limiter = GuessLimiter::new(start);
        let hour = Duration::from_secs(60 * 60);
        let checked = guess(&mut limiter, "203.0.113.7", start, hour).len();
        assert!((360..380).contains(&checked), "{checked} guesses in an hour");
        let end = start + hour;
        for same in ["203.0.113.7", "::ffff:203.0.113.7"] {
            assert!(limiter.delay(client(same), end).is_some(), "{same}");
        }
        for other in ["203.0.113.8", "127.0.0.1", "::203.0.113.7", "2001:db8::1"] {
            assert_eq!(limiter.delay(client(other), end), None, "{other}");
        }
        let later = end + FORGET_ONE * (FREE + MAX_DOUBLINGS + 1);
        let again = guess(&mut limiter, "203.0.113.7", later, Duration::from_secs(1));
        assert_eq!(again.len(), 6, "everything is forgotten: {again:?}");
    }

    #[test]
    fn an_outdated_token_that_is_sent_every_15_seconds_causes_no_delay() {
        let start = Instant::now();
        let mut limiter = GuessLimiter::new(start);
        for n in 0..1000 {
            let now = start + n * Duration::from_secs(15);
            assert_eq!(limiter.delay(client("127.0.0.1"), now), None, "request {n}");
            limiter.add_wrong_token(client("127.0.0.1"), now);
        }
    }

    #[test]
    fn ipv6_addresses_of_one_64_share_their_guesses() {
        let start = Instant::now();
        let mut limiter = GuessLimiter::new(start);
        for n in 0..6 {
            limiter.add_wrong_token(client(&format!("2001:db8::{n}")), start);
        }
        assert!(limiter.delay(client("2001:db8::ffff:1"), start).is_some());
        assert_eq!(limiter.delay(client("2001:db8:0:1::1"), start), None);
    }

    #[test]
    fn with_many_guesses_in_all_a_network_waits_from_its_first_wrong_token_on() {
        let start = Instant::now();
        let mut limiter = GuessLimiter::new(start);
        let mut delays_after = |n: u32, now| {
            limiter.add_wrong_token(numbered(n), now);
            limiter.delay(numbered(n), now).map(|delay| delay.as_secs())
        };
        for n in 0..FREE_IN_ALL {
            assert_eq!(delays_after(n, start), None, "network {n}");
        }
        assert_eq!(delays_after(1000, start), Some(1));
        assert_eq!(delays_after(1000, start), Some(2));
        assert_eq!(delays_after(7, start), Some(2), "its second");
        // A flood is forgotten soon, however large it was.
        for n in 0..100_000 {
            delays_after(n, start);
        }
        let calm = start + FORGET_ONE_IN_ALL * 2 * FREE_IN_ALL;
        assert_eq!(delays_after(200_000, calm), None);
        assert_eq!(limiter.delay(numbered(300_000), start), None, "no wrong token yet");
    }

    #[test]
    fn a_bounded_number_of_networks_is_remembered() {
        let start = Instant::now();
        let mut limiter = GuessLimiter::new(start);
        let known = numbered(1_000_000);
        for _ in 0..2 {
            limiter.add_wrong_token(known, start);
        }
        for n in 0..5 * u32::try_from(MAX_NETWORKS).unwrap() {
            limiter.add_wrong_token(numbered(n), start);
            assert!(limiter.networks.len() <= MAX_NETWORKS);
        }
        assert!(limiter.networks.contains_key(&network_of(known)), "the one with the most stays");
        let last = numbered(5 * u32::try_from(MAX_NETWORKS).unwrap());
        limiter.add_wrong_token(last, start);
        assert!(limiter.networks.contains_key(&network_of(last)));
    }
}
