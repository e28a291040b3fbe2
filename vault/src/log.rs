//! Plain log lines on standard error: time, level, text. No line carries a token, a user's id or a secret.
//!
//! Most lines can be caused by whoever sends requests, so each place in the program that writes lines has an allowance a
//! minute; what is above it is counted and told with the next line of that place. A flood drowns only its own kind, and
//! the log does not fill a disk.

use std::fmt;
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

impl Level {
    /// Lines a minute of one place in the program.
    pub const fn allowance(self) -> u32 {
        match self {
            // Releases are told one by one as long as people cause them.
            Self::Info => 240,
            Self::Warn | Self::Error => 20,
        }
    }
}

/// The allowance of one place in the program.
pub struct Limit {
    allowance: u32,
    window: Mutex<Window>,
}

/// The minute that runs.
struct Window {
    began: Option<Duration>,
    told: u32,
    kept: u64,
}

/// A line that may be written.
#[derive(Debug, PartialEq, Eq)]
struct Admitted {
    /// Lines that were kept back before it.
    before: u64,
    /// It is the last of its minute.
    last: bool,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Limit {
    /// So many lines a minute, at least one.
    pub const fn new(allowance: u32) -> Self {
        let allowance = if allowance == 0 { 1 } else { allowance };
        Self { allowance, window: Mutex::new(Window { began: None, told: 0, kept: 0 }) }
    }

    /// Whether a line may be written `now`, a time that only rises.
    fn admit(&self, now: Duration) -> Option<Admitted> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let over = window.began.is_none_or(|began| now.saturating_sub(began) >= MINUTE);
        let before = if over { window.kept } else { 0 };
        if over {
            *window = Window { began: Some(now), told: 0, kept: 0 };
        }
        if window.told >= self.allowance {
            window.kept = window.kept.saturating_add(1);
            return None;
        }
        window.told += 1;
        Some(Admitted { before, last: window.told == self.allowance })
    }
}

/// Writes one line if its place has an allowance left. A log that cannot be written is no reason to stop.
pub fn line(level: Level, limit: &Limit, text: fmt::Arguments<'_>) {
    static START: OnceLock<Instant> = OnceLock::new();
    let Some(Admitted { before, last }) = limit.admit(START.get_or_init(Instant::now).elapsed()) else { return };
    let level = match level {
        Level::Info => "info ",
        Level::Warn => "warn ",
        Level::Error => "ERROR",
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let stamp = Stamp(since.as_secs(), since.subsec_millis());
    let more = if before > 0 { format!(" ({before} more like this before)") } else { String::new() };
    let rest = if last { " (more like this are only counted for a minute)" } else { "" };
    let line = format!("{stamp} {level} {text}{more}{rest}\n");
    // One write a line, so that threads do not mix theirs.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// A line of one level from this place in the program, with the level's allowance or one of its own.
#[macro_export]
macro_rules! log_line {
    ($level:ident, $($text:tt)*) => {{
        static LIMIT: $crate::log::Limit = $crate::log::Limit::new($crate::log::Level::$level.allowance());
        $crate::log::line($crate::log::Level::$level, &LIMIT, format_args!($($text)*))
    }};
}

/// A line of [`Level::Info`].
#[macro_export]
macro_rules! info {
    ($($text:tt)*) => { $crate::log_line!(Info, $($text)*) };
}

/// A line of [`Level::Warn`].
#[macro_export]
macro_rules! warning {
    ($($text:tt)*) => { $crate::log_line!(Warn, $($text)*) };
}

/// A line of [`Level::Error`].
#[macro_export]
macro_rules! alarm {
    ($($text:tt)*) => { $crate::log_line!(Error, $($text)*) };
}

/// Seconds and milliseconds since 1970, printed as UTC.
pub struct Stamp(u64, u32);

impl Stamp {
    /// Of milliseconds since 1970.
    pub const fn of(millis: u64) -> Self {
        Self(millis / 1000, (millis % 1000) as u32)
    }
}

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

    #[test]
    fn a_flood_is_a_few_lines_a_minute_and_its_number() {
        let limit = Limit::new(3);
        let at = |second| limit.admit(Duration::from_secs(second));
        for (second, last) in [(100, false), (100, false), (159, true)] {
            assert_eq!(at(second), Some(Admitted { before: 0, last }));
        }
        assert!((0..5000).all(|_| at(159).is_none()));
        // The next minute begins with the next line, and says what was kept back.
        assert_eq!(at(160), Some(Admitted { before: 5000, last: false }));
        assert_eq!(at(161), Some(Admitted { before: 0, last: false }));
        // A quiet minute owes nothing.
        assert_eq!(at(1000), Some(Admitted { before: 0, last: false }));
    }

    #[test]
    fn one_line_a_minute_is_the_least() {
        let limit = Limit::new(0);
        assert_eq!(limit.admit(MINUTE), Some(Admitted { before: 0, last: true }));
        assert_eq!(limit.admit(MINUTE), None);
    }
}
