//! A password: from the configuration or a file, wiped when dropped, never printed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::text::printable_path;

/// The most that a password file may hold, in bytes.
const MAX_FILE: usize = 4096;

/// Bytes that are wiped when dropped and that no `Debug` shows.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a password file cannot be used. The text never holds what is in the file.
#[derive(Debug, Error)]
pub enum FileError {
    #[error("{} cannot be read: {error}{}", printable_path(.path), whose_rights(.error))]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} is not a regular file", printable_path(.0))]
    NotAFile(PathBuf),
    #[error("{path} may be read by everybody (mode {1:03o}): run `chmod o-rwx {path}`", path = printable_path(.0))]
    Public(PathBuf, u32),
    #[error(
        "{} is longer than {MAX_FILE} bytes: it must hold the password and nothing else",
        printable_path(.0)
    )]
    TooLong(PathBuf),
    #[error("{} has an empty first line: write the password there", printable_path(.0))]
    Empty(PathBuf),
}

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// Reads the first line of a file, without its line end.
    ///
    /// # Errors
    /// The file is not there, not a regular file, readable by everybody, longer than 4 KiB,
    /// or its first line is empty.
    pub fn from_file(path: &Path) -> Result<Secret, FileError> {
        let unreadable = |error| FileError::Unreadable {
            path: path.into(),
            error,
        };
        // Not to wait for a writer, should the path be a named pipe.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(FileError::NotAFile(path.into()));
        }
        let mode = metadata.mode() & 0o777;
        if mode & 0o004 != 0 {
            return Err(FileError::Public(path.into(), mode));
        }
        // Sized at once, so that growing leaves no copy behind.
        let mut content = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
        file.take(MAX_FILE as u64 + 1)
            .read_to_end(&mut content)
            .map_err(unreadable)?;
        if content.len() > MAX_FILE {
            return Err(FileError::TooLong(path.into()));
        }
        match first_line(&content) {
            [] => Err(FileError::Empty(path.into())),
            line => Ok(Secret::new(line.to_vec())),
        }
    }

    /// The bytes themselves, for the one place that sends them and the one that masks them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Who it is that may not read something: uWSGI may have changed its user.
pub fn whose_rights(error: &io::Error) -> String {
    match (error.kind(), std::fs::metadata("/proc/self")) {
        (io::ErrorKind::PermissionDenied, Ok(process)) => format!(
            "; uWSGI runs as uid {} and gid {}, which must be able to read it",
            process.uid(),
            process.gid()
        ),
        _ => String::new(),
    }
}

fn first_line(content: &[u8]) -> &[u8] {
    let line = content.split(|&byte| byte == b'\n').next().unwrap_or(&[]);
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(content: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
        file
    }

    fn read(content: &[u8], mode: u32) -> Result<Vec<u8>, String> {
        let file = file(content, mode);
        Secret::from_file(file.path())
            .map(|secret| secret.expose().to_vec())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_line_counts_without_its_end() {
        assert_eq!(read(b"s3cret\r\nnot this\n", 0o600).unwrap(), b"s3cret");
        assert_eq!(read(b" blanks stay ", 0o640).unwrap(), b" blanks stay ");
    }

    #[test]
    fn an_empty_first_line_is_an_error() {
        assert!(read(b"\ns3cret", 0o600).unwrap_err().contains("empty"));
        assert!(read(b"", 0o600).unwrap_err().contains("empty"));
    }

    #[test]
    fn a_file_that_everybody_may_read_is_an_error_with_the_command_to_run() {
        let error = read(b"s3cret", 0o644).unwrap_err();
        assert!(error.contains("chmod o-rwx") && error.contains("644"));
        assert!(!error.contains("s3cret"));
    }

    #[test]
    fn a_long_file_is_an_error() {
        assert!(read(&[b'x'; MAX_FILE], 0o600).is_ok());
        assert!(
            read(&[b'x'; MAX_FILE + 1], 0o600)
                .unwrap_err()
                .contains("4096")
        );
    }

    #[test]
    fn a_missing_file_and_a_directory_are_errors() {
        let missing = Secret::from_file(Path::new("/nonexistent/password"));
        assert!(matches!(missing, Err(FileError::Unreadable { .. })));
        let directory = Secret::from_file(Path::new("/"));
        assert!(matches!(directory, Err(FileError::NotAFile(..))));
    }

    #[test]
    fn debug_does_not_print_it() {
        let secret = Secret::new(b"s3cret".to_vec());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
