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

/// Values of the release that belong to one variant.
pub(super) const VARIANT_VALUES: [&str; 5] =
    ["bootstrap_id", "bootstrap_sha256", "bootstrap_variant", "package_ids", "variant"];

/// True for values of the release that all variants have alike.
pub(super) fn is_of_release(name: &str) -> bool {
    !VARIANT_VALUES.contains(&name) && RELEASE_VALUES.iter().any(|(known, _)| *known == name)
}

/// Names of the values that a release has for every provider; the second text is the explanation.
pub const RELEASE_VALUES: &[(&str, &str)] = &[
    ("azure_download_url", "URL at which the files of the storage \"azure\" are"),
    ("bootstrap_id", "id of the variant's bootstrap"),
    ("bootstrap_sha256", "SHA-256 of the bootstrap's archive"),
    ("bootstrap_url", "URL of the repository, without a / at its end"),
    ("bootstrap_variant", "name of the variant with a dot behind, empty for the default one"),
    ("build_name", "path of the repository, a /, and the channel"),
    ("cloudformation_s3_url_full", "URL at which the CloudFormation templates are"),
    ("commit", "commit of the tree"),
    ("package_ids", "ids of the variant's packages"),
    ("pkgpanda_sha256", "SHA-256 of the static pkgpanda"),
    ("pkgpanda_url", "URL of the static pkgpanda"),
    ("provider", "name of the provider"),
    ("reproducible_artifact_path", "path of the release below its storage"),
    ("repository_url", "URL of the repository in the preferred storage"),
    ("signing_key", "public key that has signed all artifacts, empty if none has"),
    ("tag", "name of the release"),
    ("variant", "name of the variant, empty for the default one"),
    ("version", "version of the product"),
];
