//! A password or a token: from the configuration or from a file, wiped when dropped, never printed.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::file::{self, FileError};
use crate::text::printable_path;

/// The largest file of a secret, in bytes.
const MAX_FILE: usize = 4096;

/// Bytes that are wiped when dropped and that `Debug` does not show.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why the file of a secret cannot be used. The text does not contain anything from the file.
#[derive(Debug, Error)]
pub enum SecretError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the first line of {} is empty: write the password or the token there", printable_path(.0))]
    Empty(PathBuf),
}

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// Reads the first line of a file, without its line end.
    ///
    /// # Errors
    /// Those of [`file::read_private`], or the first line is empty.
    pub fn from_file(path: &Path) -> Result<Secret, SecretError> {
        let content = file::read_private(path, MAX_FILE)?;
        match first_line(&content) {
            [] => Err(SecretError::Empty(path.into())),
            line => Ok(Secret::new(line.to_vec())),
        }
    }

    /// The bytes, for the place that sends them and the place that masks them.
    pub fn expose(&self) -> &[u8] {
        &self.0
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

    fn read(content: &[u8]) -> Result<Vec<u8>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o600)).unwrap();
        Secret::from_file(file.path())
            .map(|secret| secret.expose().to_vec())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_line_counts_without_its_end() {
        assert_eq!(read(b"s3cret\r\nnot this\n").unwrap(), b"s3cret");
        assert_eq!(read(b" spaces stay ").unwrap(), b" spaces stay ");
    }

    #[test]
    fn an_empty_first_line_is_an_error() {
        for content in ["", "\ns3cret", "\r\n"] {
            let error = read(content.as_bytes()).unwrap_err();
            assert!(error.contains("is empty") && !error.contains("s3cret"));
        }
    }

    #[test]
    fn debug_does_not_print_it() {
        let secret = Secret::new(b"s3cret".to_vec());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
