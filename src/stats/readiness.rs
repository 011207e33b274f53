//! The result of `/readyz`. Any client may request it, so a result is valid for a second, and all
//! requests during a check share its result.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::lock::lock;

/// How long a result is valid.
const VALID: Duration = Duration::from_secs(1);
/// How long a request waits for a check. HTTP has timed out by then.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Called once, from any thread, with the result of a health check: the reason if it failed.
pub(super) type HealthResponder = Box<dyn FnOnce(Result<(), String>) + Send>;

#[derive(Default)]
pub(super) struct ReadinessCheck(Mutex<ReadinessState>);

#[derive(Default)]
struct ReadinessState {
    latest: Option<(Instant, Result<(), String>)>,
    /// Requests that wait for the check in progress, and since when.
    waiting: VecDeque<(Instant, HealthResponder)>,
    checking: bool,
    /// Whether the last check failed or timed out.
    failed: bool,
}

/// The check in progress. If it is dropped without a result, the next request starts another.
struct RunningCheck(Option<Arc<ReadinessCheck>>);

impl ReadinessCheck {
    /// Responds with the latest result, or with that of a check, which `start` starts unless there
    /// is one in progress.
    pub(super) fn check(
        self: &Arc<Self>,
        responder: HealthResponder,
        start: impl FnOnce(HealthResponder),
    ) {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some((at, result)) = &state.latest
            && now.saturating_duration_since(*at) < VALID
        {
            let result = result.clone();
            drop(state);
            return responder(result);
        }
        // A source that hangs must not collect requests that have timed out.
        while state.waiting.front().is_some_and(|(since, _)| now - *since > MAX_WAIT) {
            state.waiting.pop_front();
        }
        state.waiting.push_back((now, responder));
        if std::mem::replace(&mut state.checking, true) {
            return;
        }
        drop(state);
        let check = RunningCheck(Some(Arc::clone(self)));
        start(Box::new(move |result| check.complete(&result)));
    }

    /// Makes the next request start a check: the latest result is outdated.
    pub(super) fn invalidate(&self) {
        self.lock().latest = None;
    }

    /// Logs that a check has no result yet, as a failure.
    pub(super) fn timed_out(&self, why: &str) {
        self.lock().log(Some(why));
    }

    fn lock(&self) -> MutexGuard<'_, ReadinessState> {
        lock(&self.0)
    }
}

impl ReadinessState {
    /// Logs a failure when it begins and when it ends, not at each check.
    fn log(&mut self, failure: Option<&str>) {
        let failed = std::mem::replace(&mut self.failed, failure.is_some());
        match failure {
            Some(why) if !failed => log::warn!("/readyz reports not ready: {why}"),
            None if failed => log::info!("/readyz reports ready again"),
            _ => {}
        }
    }
}

impl RunningCheck {
    fn complete(mut self, result: &Result<(), String>) {
        let Some(readiness) = self.0.take() else { return };
        let mut state = readiness.lock();
        state.log(result.as_ref().err().map(String::as_str));
        state.latest = Some((Instant::now(), result.clone()));
        state.checking = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for (_, responder) in waiting {
            responder(result.clone());
        }
    }
}

impl Drop for RunningCheck {
    fn drop(&mut self) {
        if let Some(readiness) = &self.0 {
            readiness.lock().checking = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked of a source, and the responses to requests.
    #[derive(Clone, Default)]
    struct Checks {
        started: Arc<Mutex<Vec<HealthResponder>>>,
        responses: Arc<Mutex<Vec<Result<(), String>>>>,
    }

    impl Checks {
        fn request(&self, readiness: &Arc<ReadinessCheck>) {
            let (started, responses) = (Arc::clone(&self.started), Arc::clone(&self.responses));
            readiness.check(Box::new(move |result| lock(&responses).push(result)), move |check| {
                lock(&started).push(check);
            });
        }

        /// Completes the check in progress, which must be the only one.
        fn complete(&self, result: Result<(), String>) {
            let mut started = std::mem::take(&mut *lock(&self.started));
            assert_eq!(started.len(), 1, "one check at a time");
            started.pop().unwrap()(result);
        }

        fn responses(&self) -> Vec<Result<(), String>> {
            std::mem::take(&mut *lock(&self.responses))
        }
    }

    #[test]
    fn requests_during_a_check_share_it_and_later_ones_get_its_result() {
        let (readiness, checks) = (Arc::default(), Checks::default());
        for _ in 0..100 {
            checks.request(&readiness);
        }
        assert_eq!(checks.responses(), []);
        checks.complete(Err("down".into()));
        assert_eq!(checks.responses(), vec![Err("down".to_owned()); 100]);
        checks.request(&readiness);
        assert_eq!(checks.responses(), [Err("down".to_owned())]);
        assert!(lock(&checks.started).is_empty());
    }

    #[test]
    fn an_old_or_invalidated_result_is_checked_again() {
        let (readiness, checks) = (Arc::<ReadinessCheck>::default(), Checks::default());
        for outdate in [
            &|| readiness.invalidate(),
            &|| {
                if let Some((at, _)) = &mut readiness.lock().latest {
                    *at -= VALID;
                }
            },
            &|| {},
        ] as [&dyn Fn(); 3]
        {
            checks.request(&readiness);
            checks.complete(Ok(()));
            assert_eq!(checks.responses(), [Ok(())]);
            outdate();
        }
    }

    #[test]
    fn a_check_dropped_without_a_result_is_started_again() {
        let (readiness, checks) = (Arc::default(), Checks::default());
        checks.request(&readiness);
        lock(&checks.started).clear();
        checks.request(&readiness);
        checks.complete(Ok(()));
        assert_eq!(checks.responses(), [Ok(()), Ok(())]);
    }

    #[test]
    fn a_hanging_check_keeps_no_requests_that_have_timed_out() {
        let (readiness, checks) = (Arc::<ReadinessCheck>::default(), Checks::default());
        checks.request(&readiness);
        for (since, _) in &mut readiness.lock().waiting {
            *since -= 2 * MAX_WAIT;
        }
        checks.request(&readiness);
        assert_eq!(readiness.lock().waiting.len(), 1);
    }
}
