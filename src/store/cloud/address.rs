//! URLs of stores in clouds: `s3://bucket/prefix`, `az://container/prefix`, `gs://bucket/prefix`.

use std::fmt;

use object_store::path::Path;

use crate::store::key::ObjectKey;

/// Kind of cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudKind {
    /// Amazon S3, and other stores with the same interface.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Gcs,
}

impl CloudKind {
    /// The scheme of URLs.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Azure => "az",
            Self::Gcs => "gs",
        }
    }

    /// The word for a top-level folder.
    pub(super) fn bucket_word(self) -> &'static str {
        match self {
            Self::S3 | Self::Gcs => "bucket",
            Self::Azure => "container",
        }
    }
}

/// Bucket and prefix of a store in a cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudAddress {
    kind: CloudKind,
    bucket: String,
    prefix: Option<ObjectKey>,
}

impl CloudAddress {
    /// Reads the rest of a URL after the scheme: a bucket and an optional prefix; `None` if not valid.
    pub fn parse(kind: CloudKind, rest: &str) -> Option<Self> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { None } else { Some(prefix.parse().ok()?) };
        is_bucket(bucket).then(|| Self { kind, bucket: bucket.to_owned(), prefix })
    }

    /// The kind of cloud.
    pub(super) fn kind(&self) -> CloudKind {
        self.kind
    }

    /// The bucket, or the container.
    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Place of an object in the bucket.
    pub(super) fn path(&self, key: &ObjectKey) -> Path {
        match &self.prefix {
            Some(prefix) => place(&format!("{prefix}/{key}")),
            None => place(key.as_str()),
        }
    }

    /// Place of a folder in the bucket; `None` for the whole bucket.
    pub(super) fn folder(&self, below: Option<&ObjectKey>) -> Option<Path> {
        match below {
            Some(key) => Some(self.path(key)),
            None => self.prefix.as_ref().map(|prefix| place(prefix.as_str())),
        }
    }

    /// Name of an object by its place in the bucket; `None` for names outside the prefix or with other letters.
    pub(super) fn key(&self, path: &str) -> Option<ObjectKey> {
        let path = match &self.prefix {
            Some(prefix) => path.strip_prefix(prefix.as_str())?.strip_prefix('/')?,
            None => path,
        };
        path.parse().ok()
    }
}

impl fmt::Display for CloudAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.kind.scheme(), self.bucket)?;
        self.prefix.as_ref().map_or(Ok(()), |prefix| write!(f, "/{prefix}"))
    }
}

/// Takes a text without escapes; other constructors of the crate escape letters of keys.
fn place(text: &str) -> Path {
    Path::parse(text).unwrap_or_else(|_never| Path::from(text))
}

/// True for possible names of buckets and containers, without letters that have a meaning in a URL.
fn is_bucket(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._$".contains(&byte);
    (3..=222).contains(&name.len())
        && name.bytes().all(is_plain)
        && name.bytes().any(|byte| byte.is_ascii_alphanumeric())
        // In a URL of the path style the bucket is a part of the path.
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_bucket_and_a_prefix() {
        let parse = |text: &str| CloudAddress::parse(CloudKind::S3, text);
        for (text, shown, path) in [
            ("bucket", "s3://bucket", "a/b"),
            ("bucket/", "s3://bucket", "a/b"),
            ("my.bucket-1/p", "s3://my.bucket-1/p", "p/a/b"),
            ("bucket/p/q/", "s3://bucket/p/q", "p/q/a/b"),
        ] {
            let address = parse(text).unwrap();
            let key = "a/b".parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.path(&key).as_ref(), path);
            assert_eq!(address.key(path), Some(key));
        }
        for bad in [
            "",
            "/",
            "ab",
            "a/b",
            "b..t",
            "...",
            "key:secret@bucket",
            "bucket?x=y",
            "bucket#x",
            "bu cket",
            "bucket/../x",
            "bucket//x",
            "bucket/a b",
            "bucket/?sig=x",
            "bücket",
            "bucket/%2e%2e",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let address = parse("bucket/p").unwrap();
        for other in ["p", "q/a", "pa/b", "p/", "p/a//b", "p/.tmp-x", "p/a b"] {
            assert_eq!(address.key(other), None, "{other}");
        }
    }

    #[test]
    fn letters_of_keys_stay_as_they_are() {
        let address = CloudAddress::parse(CloudKind::Gcs, "bucket/p").unwrap();
        let text = "a/b--1.2+c@d:3,e=f~g!.tar.xz";
        let path = address.path(&text.parse().unwrap());
        assert_eq!(path.as_ref(), format!("p/{text}"));
    }
}
