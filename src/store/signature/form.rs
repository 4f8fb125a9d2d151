//! The text of a signature, read strictly: four lines and nothing after them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::Signature;

use super::key::KeyId;

/// Upper limit of a signature's text, in bytes. One with the longest id has less than 3000.
pub const LONGEST: u64 = 4096;

const COMMENT: &str = "trusted comment: ";

/// Text that is not a signature of minisign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The text is too long.
    #[error("it has more than {LONGEST} bytes")]
    Long,
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// The text has control characters, or is not UTF-8.
    #[error("it is not plain text")]
    Text,
    /// There are fewer or more than four lines.
    #[error("it has {0} lines instead of 4; it may be cut off, or have text added")]
    Lines(usize),
    /// A comment does not begin as one.
    #[error("line {line} does not begin with `{expected}`")]
    Comment {
        /// Number of the line, from 1.
        line: usize,
        /// Beginning of such a line.
        expected: &'static str,
    },
    /// A line does not have the bytes of a signature.
    #[error("line {line} does not have {expected} bytes in base64; it may be cut off")]
    Bytes {
        /// Number of the line, from 1.
        line: usize,
        /// Number of bytes.
        expected: usize,
    },
    /// The signature is of a kind that minisign lacks.
    #[error("its algorithm is unknown: expected ED, Ed25519 of a BLAKE2b hash")]
    Algorithm,
}

/// Signature whose form was checked, and nothing else.
pub(super) struct SignatureText {
    pub(super) key: KeyId,
    /// True if the file's hash is signed, not the file.
    pub(super) is_prehashed: bool,
    /// Trusted comment, which is not to be trusted before the signature was verified.
    pub(super) comment: String,
    pub(super) signature: Signature,
}

impl SignatureText {
    /// Reads the content of a `.minisig` file.
    pub(super) fn parse(text: &[u8]) -> Result<Self, FormError> {
        if text.len() as u64 > LONGEST {
            return Err(FormError::Long);
        }
        if text.is_empty() {
            return Err(FormError::Empty);
        }
        let text = std::str::from_utf8(text).map_err(|_error| FormError::Text)?;
        let lines: Vec<&str> = text.lines().collect();
        // Comments are shown, and a terminal would obey them.
        let is_odd = |letter: char| letter.is_control() && letter != '\t';
        if lines.iter().any(|line| line.contains(is_odd)) {
            return Err(FormError::Text);
        }
        let [untrusted, signature, trusted, global] = lines[..] else {
            return Err(FormError::Lines(lines.len()));
        };
        let expected = "untrusted comment: ";
        if !untrusted.starts_with(expected) {
            return Err(FormError::Comment { line: 1, expected });
        }
        let bytes: [u8; 74] = decoded(signature, 2)?;
        let comment = trusted
            .strip_prefix(COMMENT)
            .ok_or(FormError::Comment { line: 3, expected: COMMENT })?;
        decoded::<64>(global, 4)?;
        let is_prehashed = match &bytes[..2] {
            b"ED" => true,
            b"Ed" => false,
            _ => return Err(FormError::Algorithm),
        };
        let id = bytes[2..].first_chunk().ok_or(FormError::Algorithm)?;
        Ok(Self {
            key: KeyId::from_bytes(*id),
            is_prehashed,
            comment: comment.to_owned(),
            // Made of the lines that were checked, so that both readers see the same.
            signature: Signature::decode(&lines.join("\n"))
                .map_err(|_error| FormError::Algorithm)?,
        })
    }
}

fn decoded<const BYTES: usize>(text: &str, line: usize) -> Result<[u8; BYTES], FormError> {
    let wrong = FormError::Bytes { line, expected: BYTES };
    let bytes = STANDARD.decode(text).map_err(|_reason| wrong)?;
    bytes.try_into().map_err(|_length| wrong)
}
