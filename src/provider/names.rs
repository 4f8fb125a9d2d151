//! Names with a meaning of their own: in every template, and among the values of a release.

/// Names known in templates beside arguments; `true` for lists.
const RESERVED_NAMES: [(&str, bool); 7] = [
    ("arguments", true),
    ("cluster_package_list", false),
    ("cluster_packages", true),
    ("config_packages", true),
    ("file", false),
    ("late_package", false),
    ("late_values", true),
];

/// True for names known in templates beside arguments.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED_NAMES.iter().any(|(known, _)| *known == name)
}

/// True for lists known in templates beside arguments.
pub(super) fn is_reserved_list(name: &str) -> bool {
    RESERVED_NAMES.contains(&(name, true))
}

/// Names known in pages beside the values of the release.
pub(super) const PAGE_NAMES: [&str; 2] = ["file", "variants"];

/// Value that a release has for every provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseValue {
    /// Name.
    pub name: &'static str,
    /// Explanation for people.
    pub explanation: &'static str,
    /// True if each variant has a value of its own.
    pub is_of_variant: bool,
}

const fn of_release(name: &'static str, explanation: &'static str) -> ReleaseValue {
    ReleaseValue { name, explanation, is_of_variant: false }
}

const fn of_variant(name: &'static str, explanation: &'static str) -> ReleaseValue {
    ReleaseValue { name, explanation, is_of_variant: true }
}

/// Values that a release has for every provider.
pub const RELEASE_VALUES: &[ReleaseValue] = &[
    of_release("azure_download_url", "URL at which the files of the storage \"azure\" are"),
    of_variant("bootstrap_id", "id of the variant's bootstrap"),
    of_variant("bootstrap_sha256", "SHA-256 of the bootstrap's archive"),
    of_release("bootstrap_url", "URL of the repository, without a / at its end"),
    of_variant(
        "bootstrap_variant",
        "name of the variant with a dot behind, empty for the default one",
    ),
    of_release("build_name", "path of the repository, a /, and the channel"),
    of_release("cloudformation_s3_url_full", "URL at which the CloudFormation templates are"),
    of_release("commit", "commit of the tree"),
    of_variant("package_ids", "ids of the variant's packages"),
    of_release("pkgpanda_sha256", "SHA-256 of the static pkgpanda"),
    of_release("pkgpanda_url", "URL of the static pkgpanda"),
    of_release("provider", "name of the provider"),
    of_release("reproducible_artifact_path", "path of the release below its storage"),
    of_release("repository_url", "URL of the repository in the preferred storage"),
    of_release("signing_key", "public key that has signed all artifacts, empty if none has"),
    of_release("tag", "name of the release"),
    of_variant("variant", "name of the variant, empty for the default one"),
    of_release("version", "version of the product"),
];

/// Value of the release of a name.
pub(super) fn release_value(name: &str) -> Option<&'static ReleaseValue> {
    RELEASE_VALUES.iter().find(|value| value.name == name)
}
