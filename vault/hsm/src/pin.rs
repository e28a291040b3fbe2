//! The PIN of a token: read from a file or an inherited descriptor, never from arguments or the environment.

use crate::error::PinError;
use cryptoki::types::AuthPin;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroize;

const MAX: usize = 128;

/// A token's PIN. It cannot be printed, cloned or compared, and is wiped when dropped.
///
/// ```compile_fail,E0277
/// fn print(pin: &torus_hsm::Pin) -> String { format!("{pin:?}") }
/// ```
/// ```compile_fail,E0599
/// fn copy(pin: &torus_hsm::Pin) -> torus_hsm::Pin { torus_hsm::Pin::clone(pin) }
/// ```
pub struct Pin(AuthPin);

impl Pin {
    /// Reads the one line of a file that nobody but its owner (and, read-only, its group) may open.
    ///
    /// # Errors
    /// The file is missing, open to others, or not one line of 1 to 128 printable bytes.
    pub fn from_file(path: &Path) -> Result<Self, PinError> {
        let read = |source| PinError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_file() && mode & 0o027 != 0 {
            return Err(PinError::Mode { path: path.to_owned(), mode });
        }
        Self::read(file, path.to_owned())
    }

    /// Reads the one line of an inherited descriptor (a pipe or a memory file) and closes it.
    ///
    /// # Errors
    /// It cannot be read, or it is not one line of 1 to 128 printable bytes.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, PinError> {
        Self::read(File::from(fd), PathBuf::from("descriptor"))
    }

    pub(crate) fn auth(&self) -> &AuthPin {
        &self.0
    }

    fn read(mut file: File, path: PathBuf) -> Result<Self, PinError> {
        // Unbuffered, into one place that is wiped: a line end and one byte more than is allowed.
        let mut buffer = [0u8; MAX + 3];
        let mut filled = 0;
        let pin = loop {
            let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) else {
                break None;
            };
            match file.read(rest) {
                Ok(0) => break buffer.get(..filled).and_then(Self::parse),
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    buffer.zeroize();
                    return Err(PinError::Read { path, source });
                }
            }
        };
        buffer.zeroize();
        pin.ok_or(PinError::Form { path })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = core::str::from_utf8(line).ok()?;
        if text.is_empty() || text.len() > MAX || text.chars().any(char::is_control) {
            return None;
        }
        Some(Self(AuthPin::new(text.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_pin_is_one_printable_line_of_a_private_file() {
        for good in [&b"1234"[..], b"1234\n", b"1234\r\n", "gehe\u{00ef}m 12".as_bytes(), &[b'x'; MAX]] {
            assert!(Pin::from_file(file(good, 0o600).path()).is_ok(), "{good:?}");
        }
        for bad in [&b""[..], b"\n", b"12\n34", b"12\0", b"\xff\xfe", &[b'x'; MAX + 1], &[b'x'; 4096]] {
            assert!(matches!(Pin::from_file(file(bad, 0o600).path()), Err(PinError::Form { .. })), "{bad:?}");
        }
        assert!(matches!(Pin::from_file(Path::new("/nonexistent/pin")), Err(PinError::Read { .. })));
    }

    #[test]
    fn a_pin_file_that_others_may_read_is_refused() {
        for mode in [0o644, 0o604, 0o620, 0o666] {
            assert!(matches!(Pin::from_file(file(b"1234", mode).path()), Err(PinError::Mode { .. })), "{mode:o}");
        }
        for mode in [0o400, 0o600, 0o640] {
            assert!(Pin::from_file(file(b"1234", mode).path()).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn a_pin_comes_through_a_pipe() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"1234\n").unwrap();
        drop(writer);
        assert!(Pin::from_fd(reader.into()).is_ok());
    }
}
