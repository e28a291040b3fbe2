//! The limits that an operator sets, by a flag or a file: what may leave in an hour, what users get of the device.
//!
//! A flag says `all=1000,key=5`. A file says one `name = number` a line, with empty lines and, after a `#`, remarks. What
//! neither names keeps its default; what both name is the flag's to say. A name that is unknown or said twice is refused,
//! never passed over: an operator who believes in a limit must have it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Most bytes of a file.
const MOST: usize = 4096;

/// The quotas and the cap on what the device does for users, as they are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Releases an hour in all.
    pub all: u32,
    /// Releases an hour of one verifier.
    pub verifier: u32,
    /// Releases an hour of one key.
    pub key: u32,
    /// Of `all`, what is kept for each verifier.
    pub reserved: u32,
    /// Hundredths of a second that receipts and repeated releases may take of every second of the device.
    pub commits: u32,
}

/// What an operator sets of them; the rest is left to what lies below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set {
    all: Option<u32>,
    verifier: Option<u32>,
    key: Option<u32>,
    reserved: Option<u32>,
    commits: Option<u32>,
}

/// Limits that cannot be read, or contradict themselves.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLimits {
    /// No limit.
    #[error("`{0}` is no limit: a limit is name = number; names are all, verifier, key, reserved, commits")]
    Word(String),
    /// One name, two numbers.
    #[error("{0} is named twice: say once what it is")]
    Twice(String),
    /// Nobody could log in.
    #[error("commits = 0 leaves no time for any login: to stop them, use `torus-vault freeze`")]
    NoCommits,
    /// The parts of the verifiers do not fit.
    #[error("{verifiers} verifiers with {reserved} releases reserved for each are more than {all} in all")]
    Reserved {
        /// How many verifiers there are.
        verifiers: usize,
        /// The part of each.
        reserved: u32,
        /// The quota in all.
        all: u32,
    },
}

/// Why a file of limits is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    /// It cannot be read.
    #[error("the limits' file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Nobody writes so much about five numbers.
    #[error("the limits' file {} is longer than {MOST} bytes: is it another file?", .0.display())]
    Long(PathBuf),
    /// Something in it.
    #[error("the limits' file {}, line {line}: {bad}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        bad: BadLimits,
    },
}

impl Limits {
    /// For a network of up to a million logins a day. A login is a token, however often its share is fetched: 20 an hour
    /// are one every three minutes, more than a user with several devices and tabs makes, and 2,500 users of one verifier
    /// must work together to use its hour up, where 60 would have taken 834.
    pub const DEFAULT: Self = Self { all: 100_000, verifier: 50_000, key: 20, reserved: 1_000, commits: 66 };

    /// With what an operator sets of them.
    #[must_use]
    pub fn with(self, set: &Set) -> Self {
        Self {
            all: set.all.unwrap_or(self.all),
            verifier: set.verifier.unwrap_or(self.verifier),
            key: set.key.unwrap_or(self.key),
            reserved: set.reserved.unwrap_or(self.reserved),
            commits: set.commits.unwrap_or(self.commits),
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { all, verifier, key, reserved, commits } = self;
        write!(f, "all={all},verifier={verifier},key={key},reserved={reserved},commits={commits}")
    }
}

impl Set {
    /// What a file sets.
    ///
    /// # Errors
    /// It cannot be read or is too long, or a line of it is no limit or one that was set before.
    pub fn read(path: &Path) -> Result<Self, BadFile> {
        let failed = |source| BadFile::Read { path: path.into(), source };
        let mut bytes = Vec::new();
        File::open(path).map_err(failed)?.take(MOST as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > MOST {
            return Err(BadFile::Long(path.into()));
        }
        // What is no text is no limit, and shown as far as it can be.
        let mut set = Self::default();
        for (number, line) in (1..).zip(String::from_utf8_lossy(&bytes).lines()) {
            let said = line.split_once('#').map_or(line, |(said, _)| said).trim();
            if !said.is_empty() {
                set.say(said).map_err(|bad| BadFile::Line { path: path.into(), line: number, bad })?;
            }
        }
        Ok(set)
    }

    /// Takes one `name = number`.
    fn say(&mut self, word: &str) -> Result<(), BadLimits> {
        let bad = || BadLimits::Word(shown(word));
        let (name, number) = word.split_once('=').ok_or_else(bad)?;
        let (name, number) = (name.trim(), number.trim());
        let number = number.parse().map_err(|_| bad())?;
        let limit = match name {
            "all" => &mut self.all,
            "verifier" => &mut self.verifier,
            "key" => &mut self.key,
            "reserved" => &mut self.reserved,
            "commits" => &mut self.commits,
            _ => return Err(bad()),
        };
        limit.replace(number).map_or(Ok(()), |_| Err(BadLimits::Twice(name.to_owned())))
    }
}

impl FromStr for Set {
    type Err = BadLimits;

    fn from_str(text: &str) -> Result<Self, BadLimits> {
        let mut set = Self::default();
        text.split(',').try_for_each(|word| set.say(word))?;
        Ok(set)
    }
}

/// The limits in force: the flag's over the file's over the defaults.
///
/// # Errors
/// The file is not taken.
pub fn in_force(flag: Option<&Set>, file: Option<&Path>) -> Result<Limits, BadFile> {
    let file = file.map_or(Ok(Set::default()), Set::read)?;
    Ok(Limits::DEFAULT.with(&file).with(flag.unwrap_or(&Set::default())))
}

/// Refuses limits under which the verifiers' parts are more than the whole.
///
/// # Errors
/// [`BadLimits::Reserved`].
pub fn check(limits: &Limits, verifiers: usize) -> Result<(), BadLimits> {
    if limits.commits == 0 {
        return Err(BadLimits::NoCommits);
    }
    let (reserved, all) = (limits.reserved, limits.all);
    let fits = u64::from(reserved).saturating_mul(verifiers as u64) <= u64::from(all);
    if fits { Ok(()) } else { Err(BadLimits::Reserved { verifiers, reserved, all }) }
}

/// The beginning of a word, without what a terminal would obey.
fn shown(word: &str) -> String {
    word.chars().take(60).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: impl AsRef<[u8]>) -> Result<Limits, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("limits");
        std::fs::write(&path, text).unwrap();
        let (dir, read) = (format!("{}/", dir.path().display()), in_force(None, Some(&path)));
        read.map_err(|error| error.to_string().replace(&dir, ""))
    }

    #[test]
    fn limits_are_read_as_they_are_written_and_nonsense_is_told() {
        let flag = |text: &str| text.parse().map(|set| Limits::DEFAULT.with(&set));
        assert_eq!(flag("all=5,key=2"), Ok(Limits { all: 5, key: 2, ..Limits::DEFAULT }));
        let few = Limits { all: 10, verifier: 6, key: 3, reserved: 2, commits: 66 };
        assert_eq!(flag(&few.to_string()), Ok(few));
        for bad in ["", "all", "all=", "all=-1", "some=1", "all=1,,key=2", "all=99999999999", "all=1,all=1"] {
            assert!(flag(bad).is_err(), "{bad}");
        }
        assert_eq!(check(&few, 5), Ok(()));
        assert_eq!(check(&few, 6), Err(BadLimits::Reserved { verifiers: 6, reserved: 2, all: 10 }));
    }

    #[test]
    fn a_file_of_limits_is_read_line_by_line_and_what_is_wrong_is_told_with_its_line() {
        assert_eq!(file(""), Ok(Limits::DEFAULT));
        let read = file("# of this year\n\n  key = 5 # an hour\r\nall=1000\n#key = 9\n\tcommits =\t50");
        assert_eq!(read, Ok(Limits { all: 1000, key: 5, commits: 50, ..Limits::DEFAULT }));
        let names = "a limit is name = number; names are all, verifier, key, reserved, commits";
        for (text, line, what) in [
            ("all = 5\nkeys = 5\n", 2, format!("`keys = 5` is no limit: {names}")),
            ("key = 5\n\nkey = 5\n", 3, "key is named twice: say once what it is".to_owned()),
            ("key\n", 1, format!("`key` is no limit: {names}")),
            ("key = 5, all = 6\n", 1, format!("`key = 5, all = 6` is no limit: {names}")),
            ("key = 4294967296\n", 1, format!("`key = 4294967296` is no limit: {names}")),
            ("\u{1b}[2J = 1\n", 1, format!("`?[2J = 1` is no limit: {names}")),
        ] {
            assert_eq!(file(text), Err(format!("the limits' file limits, line {line}: {what}")));
        }
        assert!(file([b'k', 0xff, b'=']).is_err(), "bytes that are no text");
        assert_eq!(file("#".repeat(MOST)), Ok(Limits::DEFAULT));
        assert!(file("#".repeat(MOST + 1)).unwrap_err().contains("longer than 4096 bytes"));
        let absent = in_force(None, Some(Path::new("/nonexistent/limits"))).unwrap_err().to_string();
        assert!(absent.starts_with("the limits' file /nonexistent/limits: No such file"), "{absent}");
    }

    #[test]
    fn a_flag_goes_over_a_file_over_the_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("limits");
        std::fs::write(&path, "all = 2000\nkey = 7\n").unwrap();
        let limits = in_force(Some(&"key=9,commits=10".parse().unwrap()), Some(&path)).unwrap();
        assert_eq!(limits, Limits { all: 2000, key: 9, commits: 10, ..Limits::DEFAULT });
        assert_eq!(in_force(None, None).unwrap(), Limits::DEFAULT);
    }

    #[test]
    fn a_verifiers_hour_is_used_up_only_by_thousands_of_its_users() {
        let Limits { all, verifier, key, .. } = Limits::DEFAULT;
        assert!(verifier / key >= 2_500 && verifier * 2 <= all, "and one verifier never uses up the whole");
    }

    #[test]
    fn the_example_says_what_holds_without_it() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/systemd/limits");
        assert_eq!(in_force(None, Some(&example)).unwrap(), Limits::DEFAULT);
        let said = std::fs::read_to_string(example).unwrap();
        assert_eq!(said.lines().filter(|line| line.starts_with(char::is_alphabetic)).count(), 5, "every one is named");
    }
}
