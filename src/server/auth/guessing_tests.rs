//! Guessing the token.

use std::sync::atomic::AtomicU64;

use super::*;

/// However the tokens are sent. Time stands still, except where the test says so.
#[test]
fn after_wrong_tokens_no_token_of_this_address_is_checked_for_a_while() {
    let right = format!("Authorization: Bearer {TOKEN}");
    let in_subprotocol = |token: &str| format!("Sec-WebSocket-Protocol: kentros.bearer.{token}");
    for wrong in [format!("{right}x"), in_subprotocol("wrong"), String::new()] {
        let mut guard = guard_with_token();
        let cookie = cookie(&mut guard);
        let now = later();
        let mut ask = |peer: &str, fields: &str, now| {
            let peer = peer.parse().unwrap();
            if fields.is_empty() {
                let form = LoginForm::default();
                return guard.log_in(peer, &form, b"token=wrong", now).status().to_string();
            }
            outcome_at(&mut guard, peer, &head("GET /ws/stats", fields), now)
        };
        let attacker = "203.0.113.7:1";
        let outcomes = [(); 7].map(|()| ask(attacker, &wrong, now));
        assert_eq!(outcomes, ["401", "401", "401", "401", "401", "401", "429"], "{wrong}");
        assert_eq!(ask(attacker, &right, now), "429");
        assert_eq!(ask(attacker, &in_subprotocol(ENCODED), now), "429");
        assert_eq!(ask(attacker, "Accept: */*", now), "401", "no token, no guess");
        assert_eq!(ask(attacker, &format!("Cookie: {cookie}"), now), "allow");
        assert_eq!(
            ask(attacker, &format!("Cookie: {cookie}\r\nAuthorization: Bearer x"), now),
            "allow"
        );
        assert_eq!(ask("203.0.113.8:1", &right, now), "allow", "another address");
        assert_eq!(ask(attacker, &right, now + Duration::from_millis(999)), "429");
        let second = now + Duration::from_secs(1);
        assert_eq!(ask(attacker, &right, second), "allow");
        assert_eq!(ask(attacker, &wrong, second), "401");
        assert_eq!(ask(attacker, &wrong, second + Duration::from_millis(1999)), "429");
        assert_eq!(ask(attacker, &wrong, second + Duration::from_secs(2)), "401");
    }
}

#[test]
fn the_response_to_too_many_wrong_tokens_says_when_to_try_again() {
    let counters: Arc<AuthCounters> = Arc::default();
    let token = Token::new(TOKEN).unwrap();
    let (checks, base) = (RequestChecks::default(), BasePath::default());
    let mut guard =
        RequestGuard::new(checks, Some(&token), Vec::new(), &base, Arc::clone(&counters)).unwrap();
    let now = later();
    let mut log_in = || {
        let response = guard.log_in(peer(), &LoginForm::default(), b"token=wrong", now);
        String::from_utf8(response.bytes("", false)).unwrap()
    };
    for _ in 0..6 {
        assert!(log_in().starts_with("HTTP/1.1 401 "));
    }
    let page = log_in();
    assert!(page.starts_with("HTTP/1.1 429 ") && page.contains("\r\nRetry-After: 1\r\n"), "{page}");
    assert!(page.contains("Too many wrong tokens. Try again in 1 s."), "{page}");
    let browser = format!("Accept: text/html\r\nAuthorization: Bearer {TOKEN}");
    let response = guard.check(peer(), &head("GET /", &browser), now).1;
    let Decision::Respond(response) = response else { panic!("allowed") };
    assert!(response.summary().ends_with("try again in 1 s"), "{response:?}");
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!((count(&counters.wrong), count(&counters.unchecked)), (6, 2));
}

/// A request with many tokens would be many guesses.
#[test]
fn only_the_first_token_of_a_list_is_checked() {
    let mut guard = guard_with_token();
    let both = |a: &str, b: &str| {
        format!("Sec-WebSocket-Protocol: kentros.bearer.{a}, kentros, kentros.bearer.{b}")
    };
    assert_eq!(get(&mut guard, "/ws/stats", &both(ENCODED, "wrong")), "allow");
    assert_eq!(get(&mut guard, "/ws/stats", &both("wrong", ENCODED)), "401");
}
