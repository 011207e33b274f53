//! The kernel's memory for clients that do not read.

use std::time::Duration;

use kentros::{HubConfig, Message, ServerConfig};

use crate::harness::members::Members;
use crate::harness::{GUARD, Served, until};

const KIB: usize = 1024;

/// Fails if the kernel grows the send buffer, as it does by default.
#[test]
fn the_kernel_buffers_at_most_256_kib_for_a_client_that_does_not_read() {
    let config = HubConfig::default().with_queue_messages(1).with_write_deadline(4 * GUARD);
    let members = Members::with(config);
    let narrow = members.join_narrow();
    let message = Message::new("heavy", "x".repeat(8 * KIB));
    let mut accepted = 0;
    while narrow.client.try_send(&message).is_ok() {
        accepted += 8 * KIB;
        assert!(accepted <= 256 * KIB, "the kernel has taken {accepted} bytes");
    }
    assert!(accepted >= 64 * KIB, "the kernel has taken only {accepted} bytes");
}

/// Fails if the kernel keeps the buffers for the peer of a connection that is closed.
#[test]
fn a_client_that_exceeds_the_write_deadline_is_reset() {
    let config = HubConfig::default().with_write_deadline(Duration::from_millis(200));
    let served = Served::with(config, ServerConfig::default());
    let client = served.client();
    served.until_clients(1);
    served.handle().broadcast(&Message::new("large", "x".repeat(16 * KIB * KIB))).unwrap();
    until("an eviction", || served.handle().counters().evicted_deadline == 1);
    // The client does not read here: it would see the unread data before the reset.
    until("a reset", || client.stream().take_error().unwrap().is_some());
}
