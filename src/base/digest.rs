//! Digests as types: a value of one is always the lower-case hex text of a digest of that kind.
//!
//! SHA-256 is computed by `aws-lc-rs`, a dependency of TLS: on a processor without instructions for
//! SHA-256, the crate needs six tenths of the time of the `sha2` crate (276 against 168 MB/s of CPU
//! time, medians of five turns over 64 MiB), and digests dominate the cost of loading an image.
//! Processors with such instructions were not measured.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::str::FromStr;

use sha1::Digest as _;

use crate::base::regular::{check_length, open_measured, open_regular};
use crate::base::text::written_as_text;

/// The text is not a digest of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind}: expected {digits} lower-case hex digits")]
pub struct ParseDigestError {
    kind: &'static str,
    digits: usize,
    text: String,
}

macro_rules! digest_type {
    ($name:ident, $digits:literal, $kind:literal, $hasher:ty, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The digest of bytes in memory.
            pub fn of(bytes: &[u8]) -> Self {
                Self(hex(<$hasher>::digest(bytes).as_ref()))
            }

            /// Computes the digest of a reader's content.
            pub fn of_reader(mut reader: impl Read) -> io::Result<Self> {
                let mut hasher = <$hasher>::new();
                // On the stack: most files are small, and there may be ten thousand of them.
                let mut buffer = [0; 1 << 14];
                loop {
                    match reader.read(&mut buffer) {
                        Ok(0) => return Ok(Self::from_hasher(hasher)),
                        Ok(count) => hasher.update(&buffer[..count]),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }

            /// The digest of the content of a file that others could prepare, of at most so many bytes. It
            /// ends with an error as soon as a condition holds.
            pub fn of_file_within(
                path: &Path,
                longest: u64,
                ends: impl Fn() -> bool,
            ) -> io::Result<Self> {
                let (file, length) = open_measured(path)?;
                check_length(path, length, longest)?;
                Self::of_reader(Until::new(file.take(longest), ends))
            }

            /// The digest of a file's content.
            pub fn of_file(path: &Path) -> io::Result<Self> {
                Self::of_reader(open_regular(path)?)
            }

            /// The digest that a hasher has come to.
            pub fn from_hasher(hasher: $hasher) -> Self {
                Self(hex(hasher.finalize().as_ref()))
            }

            /// The lower-case hex digits, without a prefix.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                if text.len() == $digits && text.bytes().all(digit) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(ParseDigestError { kind: $kind, digits: $digits, text: text.to_owned() })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        written_as_text!($name);
    };
}

digest_type!(Sha1Sum, 40, "SHA-1", sha1::Sha1, "A SHA-1, as 40 lower-case hex digits.");
digest_type!(Sha256Sum, 64, "SHA-256", Sha256, "A SHA-256, as 64 lower-case hex digits.");

/// A reader that fails as soon as a condition holds.
#[derive(Debug)]
pub struct Until<R, F> {
    inner: R,
    ends: F,
}

impl<R: Read, F: Fn() -> bool> Until<R, F> {
    /// Wraps a reader.
    pub fn new(inner: R, ends: F) -> Self {
        Self { inner, ends }
    }
}

impl<R: Read, F: Fn() -> bool> Read for Until<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Not of the kind `Interrupted`, after which readers try again.
        if (self.ends)() { Err(io::Error::other("interrupted")) } else { self.inner.read(buffer) }
    }
}

/// A SHA-256 under way.
#[derive(Clone)]
pub struct Sha256(aws_lc_rs::digest::Context);

impl Sha256 {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self(aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256))
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finalize(self) -> aws_lc_rs::digest::Digest {
        self.0.finish()
    }

    fn digest(bytes: &[u8]) -> aws_lc_rs::digest::Digest {
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes)
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sha256").finish_non_exhaustive()
    }
}

impl Sha256Sum {
    /// The digest as OCI documents write it: `sha256:<hex>`.
    pub fn prefixed(&self) -> String {
        format!("sha256:{}", self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A reader or writer that keeps digests and the number of the bytes that went by: the SHA-256, and with
/// [`Both`] the SHA-1, which costs as much again.
#[derive(Debug, Clone)]
pub struct Tee<T, D = Sha256> {
    inner: T,
    digests: D,
    bytes: u64,
}

/// Digests that a [`Tee`] keeps.
pub trait Digests: Default {
    /// Their values, with the number of bytes.
    type Sums;

    /// Adds bytes.
    fn add(&mut self, bytes: &[u8]);

    /// The values for all bytes, of which there were so many.
    fn sums(self, bytes: u64) -> Self::Sums;
}

/// SHA-1 and SHA-256.
#[derive(Debug, Clone, Default)]
pub struct Both {
    sha1: sha1::Sha1,
    sha256: Sha256,
}

/// Digest computed by a [`Tee`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// The SHA-256 of all bytes.
    pub sha256: Sha256Sum,
    /// Number of bytes.
    pub bytes: u64,
}

/// Digests computed by a [`Tee`] with [`Both`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// The SHA-1 of all bytes.
    pub sha1: Sha1Sum,
    /// The SHA-256 of all bytes.
    pub sha256: Sha256Sum,
    /// Number of bytes.
    pub bytes: u64,
}

impl Digests for Sha256 {
    type Sums = Sum;

    fn add(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }

    fn sums(self, bytes: u64) -> Sum {
        Sum { sha256: Sha256Sum::from_hasher(self), bytes }
    }
}

impl Digests for Both {
    type Sums = Sums;

    fn add(&mut self, bytes: &[u8]) {
        self.sha1.update(bytes);
        self.sha256.update(bytes);
    }

    fn sums(self, bytes: u64) -> Sums {
        let (sha1, sha256) = (Sha1Sum::from_hasher(self.sha1), Sha256Sum::from_hasher(self.sha256));
        Sums { sha1, sha256, bytes }
    }
}

impl<T> Tee<T> {
    /// Wraps a reader or writer, of which the SHA-256 is kept.
    pub fn new(inner: T) -> Self {
        Self { inner, digests: Sha256::new(), bytes: 0 }
    }
}

impl<T> Tee<T, Both> {
    /// Wraps a reader or writer, of which the SHA-1 is kept, too.
    pub fn with_sha1(inner: T) -> Self {
        Self { inner, digests: Both::default(), bytes: 0 }
    }
}

impl<T, D: Digests> Tee<T, D> {
    /// Wraps a reader or writer, with digests that may have been given bytes before.
    pub fn with(inner: T, digests: D) -> Self {
        Self { inner, digests, bytes: 0 }
    }

    /// Returns the inner value, with the digests.
    pub fn finish(self) -> (T, D::Sums) {
        (self.inner, self.digests.sums(self.bytes))
    }

    /// The bytes that went by so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn saw(&mut self, bytes: &[u8]) {
        self.digests.add(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<W: Write, D: Digests> Write for Tee<W, D> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.saw(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read, D: Digests> Read for Tee<R, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.saw(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_nothing_are_the_known_ones() {
        assert_eq!(Sha1Sum::of(b"").as_str(), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        let (_, sums) = Tee::new(io::sink()).finish();
        assert_eq!(sums.sha256, Sha256Sum::of(b""));
        assert_eq!(sums.bytes, 0);
    }

    #[test]
    fn files_of_others_are_read_up_to_a_limit_and_until_the_run_ends() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs_err::write(&path, "text").unwrap();
        assert_eq!(
            Sha1Sum::of_file_within(&path, 4, || false).unwrap(),
            Sha1Sum::of_file(&path).unwrap()
        );
        let refused = Sha256Sum::of_file_within(&path, 3, || false).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
        fs_err::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        let reads = std::cell::Cell::new(0);
        let ends = || reads.replace(reads.get() + 1) == 3;
        assert!(Sha256Sum::of_file_within(&path, u64::MAX, ends).is_err());
    }

    #[test]
    fn only_lower_case_hex_of_the_right_length_parses() {
        let sum = "a9fcd54b25e7e863d72cd47c08af46e61b74b561";
        assert_eq!(sum.parse::<Sha1Sum>().unwrap().to_string(), sum);
        for bad in ["", "a9fc", &sum.to_uppercase(), &format!("{sum}0"), &sum.replace('a', "g")] {
            assert!(bad.parse::<Sha1Sum>().is_err(), "{bad}");
        }
    }
}
