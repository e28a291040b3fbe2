//! Plain log lines on standard error: time, level, text. No line carries a token, a user's id or a secret.

use std::fmt;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What the vault did.
    Info,
    /// What an operator should know.
    Warn,
    /// What an operator must act on.
    Error,
}

/// Writes one line. A log that cannot be written is no reason to stop.
pub fn line(level: Level, text: fmt::Arguments<'_>) {
    let level = match level {
        Level::Info => "info ",
        Level::Warn => "warn ",
        Level::Error => "ERROR",
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let line = format!("{} {level} {text}\n", Stamp(since.as_secs(), since.subsec_millis()));
    // One write a line, so that threads do not mix theirs.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// A line of [`Level::Info`].
#[macro_export]
macro_rules! info {
    ($($text:tt)*) => { $crate::log::line($crate::log::Level::Info, format_args!($($text)*)) };
}

/// A line of [`Level::Warn`].
#[macro_export]
macro_rules! warning {
    ($($text:tt)*) => { $crate::log::line($crate::log::Level::Warn, format_args!($($text)*)) };
}

/// A line of [`Level::Error`].
#[macro_export]
macro_rules! alarm {
    ($($text:tt)*) => { $crate::log::line($crate::log::Level::Error, format_args!($($text)*)) };
}

/// Seconds and milliseconds since 1970, printed as UTC.
struct Stamp(u64, u32);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", self.1)
    }
}

/// Year, month and day of a day since 1970-01-01, counted in years that begin on 1 March.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (era * 400 + year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_utc_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_795_219_201, "2026-11-21T00:00:01.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(Stamp(seconds, 7).to_string(), text);
        }
    }
}
