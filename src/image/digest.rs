//! Digests as images write them: `sha256:<hex>`, one type for each thing that has one, so that an
//! image's id, a blob's digest and a layer's diff id can't be taken for one another.

use std::fmt;
use std::str::FromStr;

use crate::base::digest::Sha256Sum;
use crate::base::text::written_as_text;

const PREFIX: &str = "sha256:";

/// The text is no SHA-256 in the form in which images write it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {kind}: expected sha256: and 64 lower-case hex digits")]
pub struct DigestError {
    kind: &'static str,
    text: String,
}

macro_rules! digest_type {
    ($name:ident, $kind:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Sha256Sum);

        impl $name {
            /// The hex digits, without `sha256:`.
            pub fn hex(&self) -> &str {
                self.0.as_str()
            }

            /// The sum itself.
            pub fn sum(&self) -> &Sha256Sum {
                &self.0
            }
        }

        impl From<Sha256Sum> for $name {
            fn from(sum: Sha256Sum) -> Self {
                Self(sum)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                text.strip_prefix(PREFIX)
                    .and_then(|hex| hex.parse().ok())
                    .map(Self)
                    .ok_or_else(|| DigestError { kind: $kind, text: text.to_owned() })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{PREFIX}{}", self.0)
            }
        }

        written_as_text!($name);
    };
}

digest_type!(
    ImageId,
    "image id",
    "Id of an image: digest of its configuration, and part of package ids (docs/format.md, \"Package id\")."
);
digest_type!(
    BlobDigest,
    "blob digest",
    "A blob's digest, by which the store and other documents name it."
);
digest_type!(DiffId, "diff id", "The digest of a layer's uncompressed tar.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sha256_with_its_prefix_parses() {
        let hex = "cc5105e3bfa1b0528ef77561c5ad99db0f92a25b8afbb38ab723b08c72e5dbb8";
        let id: ImageId = format!("sha256:{hex}").parse().unwrap();
        assert_eq!((id.hex(), id.to_string()), (hex, format!("sha256:{hex}")));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<ImageId>(&json).unwrap(), id);
        for bad in ["", hex, "sha256:", "sha512:aa", "sha256:../x", &format!("sha256:{hex}0")] {
            assert!(bad.parse::<BlobDigest>().is_err(), "{bad}");
        }
    }
}
