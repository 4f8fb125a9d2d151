//! Digests as OCI documents write them: `sha256:<hex>`. Each kind of thing has a type of its own, so
//! that the compiler tells an image's id, a blob's digest and a layer's diff id apart.

use crate::base::digest::Sha256Sum;

const PREFIX: &str = "sha256:";

/// Text that is not a SHA-256 in the form of OCI documents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: expected sha256: and 64 lower-case hex digits")]
pub struct DigestError {
    kind: &'static str,
    text: String,
}

/// Reads the digits behind `sha256:`; `kind` names the digest in the error.
pub(crate) fn parse(kind: &'static str, text: &str) -> Result<Sha256Sum, DigestError> {
    let hex = text.strip_prefix(PREFIX).and_then(|hex| hex.parse().ok());
    hex.ok_or_else(|| DigestError { kind, text: text.to_owned() })
}

/// Defines a type for one kind of digest.
macro_rules! digest_type {
    ($name:ident, $kind:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($crate::base::digest::Sha256Sum);

        impl $name {
            /// The hex digits, without `sha256:`.
            pub fn hex(&self) -> &str {
                self.0.as_str()
            }

            /// The sum itself.
            pub fn sum(&self) -> &$crate::base::digest::Sha256Sum {
                &self.0
            }
        }

        impl From<$crate::base::digest::Sha256Sum> for $name {
            fn from(sum: $crate::base::digest::Sha256Sum) -> Self {
                Self(sum)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::store::registry::DigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::store::registry::digest::parse($kind, text).map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0.prefixed())
            }
        }

        $crate::base::text::written_as_text!($name);
    };
}

digest_type!(
    BlobDigest,
    "blob digest",
    "Digest of a blob or manifest, its name in registries, layouts and documents."
);
pub(crate) use digest_type;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sha256_with_its_prefix_parses() {
        let hex = "cc5105e3bfa1b0528ef77561c5ad99db0f92a25b8afbb38ab723b08c72e5dbb8";
        let id: BlobDigest = format!("sha256:{hex}").parse().unwrap();
        assert_eq!((id.hex(), id.to_string()), (hex, format!("sha256:{hex}")));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<BlobDigest>(&json).unwrap(), id);
        for bad in ["", hex, "sha256:", "sha512:aa", "sha256:../x", &format!("sha256:{hex}0")] {
            assert!(bad.parse::<BlobDigest>().is_err(), "{bad}");
        }
    }
}
