//! Files that the configuration names: regular, of limited size, and never waited for.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::text::printable_path;

/// Why a file cannot be used. The text does not contain anything from the file.
#[derive(Debug, Error)]
pub enum FileError {
    #[error("{} cannot be read: {error}{}", printable_path(.path), required_by(.error))]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} is not a regular file", printable_path(.0))]
    NotAFile(PathBuf),
    #[error(
        "{path} can be read by everyone (mode {1:03o}): run `chmod o-rwx {path}`, or mount it with mode 0400 if it is the secret of a container",
        path = printable_path(.0)
    )]
    Public(PathBuf, u32),
    #[error("{path} is longer than {1} bytes", path = printable_path(.0))]
    TooLong(PathBuf, usize),
}

/// Reads a file.
///
/// # Errors
/// It cannot be read, is not a regular file, or is longer than `max` bytes.
pub fn read(path: &Path, max: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    read_if(path, max, |_| Ok(()))
}

/// Reads a file that contains a secret.
///
/// # Errors
/// Those of [`read`], or everyone can read it.
pub fn read_private(path: &Path, max: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    read_if(path, max, |metadata| match metadata.mode() & 0o777 {
        mode if mode & 0o004 != 0 => Err(FileError::Public(path.into(), mode)),
        _ => Ok(()),
    })
}

fn read_if(
    path: &Path,
    max: usize,
    check: impl FnOnce(&Metadata) -> Result<(), FileError>,
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    // Without waiting for a writer if it is a named pipe.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| unreadable(path, error))?;
    let metadata = file.metadata().map_err(|error| unreadable(path, error))?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile(path.into()));
    }
    check(&metadata)?;
    // With room for all of it, so that growing leaves no copy behind.
    let length = usize::try_from(metadata.len()).unwrap_or(max).min(max);
    let mut content = Zeroizing::new(Vec::with_capacity(length + 1));
    file.take(max as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|error| unreadable(path, error))?;
    match content.len() > max {
        true => Err(FileError::TooLong(path.into(), max)),
        false => Ok(content),
    }
}

fn unreadable(path: &Path, error: io::Error) -> FileError {
    FileError::Unreadable {
        path: path.into(),
        error,
    }
}

/// Names the user who lacks permission: uWSGI may have changed its own.
fn required_by(error: &io::Error) -> String {
    match (error.kind(), std::fs::metadata("/proc/self")) {
        (io::ErrorKind::PermissionDenied, Ok(process)) => format!(
            "; uWSGI runs as uid {} and gid {}, which must be able to read it",
            process.uid(),
            process.gid()
        ),
        _ => String::new(),
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

    #[test]
    fn a_file_of_at_most_so_many_bytes_is_read() {
        let file = file(b"12345", 0o644);
        assert_eq!(*read(file.path(), 5).unwrap(), b"12345");
        let error = read(file.path(), 4).unwrap_err().to_string();
        assert!(error.ends_with("is longer than 4 bytes"), "{error}");
    }

    #[test]
    fn a_secret_that_everyone_can_read_is_an_error_with_the_command_to_run() {
        assert!(read_private(file(b"s3cret", 0o640).path(), 9).is_ok());
        let error = read_private(file(b"s3cret", 0o644).path(), 9).unwrap_err();
        let error = error.to_string();
        for part in ["chmod o-rwx", "644", "mode 0400"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("s3cret"));
    }

    #[test]
    fn a_missing_file_a_directory_and_a_device_are_errors() {
        let missing = read(Path::new("/nonexistent/password"), 9);
        assert!(matches!(missing, Err(FileError::Unreadable { .. })));
        for other in ["/", "/dev/zero"] {
            let other = read(Path::new(other), 9);
            assert!(matches!(other, Err(FileError::NotAFile(..))));
        }
    }
}
