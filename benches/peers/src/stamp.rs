//! The measured message: its number and time, then filler.

use rustix::time::{ClockId, clock_gettime};

/// The start of the stamp in a payload, wherever the server's envelope has it.
const MARK: u8 = b'@';
/// The mark, the number and the time, the latter as 16 hexadecimal digits each.
const LENGTH: usize = 1 + 16 + 16;
/// The largest position of the mark in a payload.
const WITHIN: usize = 64;

/// Nanoseconds of a clock that all processes of this machine share.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A message of `size` bytes, but at least as long as the stamp.
pub fn message(number: u64, stamp: u64, size: usize) -> String {
    let filler = size.saturating_sub(LENGTH);
    format!("@{number:016x}{stamp:016x}{:x<filler$}", "")
}

/// The number and time in a payload.
pub fn read(payload: &[u8]) -> Option<(u64, u64)> {
    let at = payload.iter().take(WITHIN).position(|&b| b == MARK)? + 1;
    let digits = |from: usize| hex(payload.get(from..from + 16)?);
    Some((digits(at)?, digits(at + 16)?))
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, &digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_out_of_an_envelope() {
        let message = message(7, 0xabc, 200);
        assert_eq!(message.len(), 200);
        let payload = format!("{{\"type\":\"t\",\"payload\":\"{message}\"}}");
        assert_eq!(read(payload.as_bytes()), Some((7, 0xabc)));
        assert_eq!(read(b"{\"type\":\"container_stats\"}"), None);
    }
}
