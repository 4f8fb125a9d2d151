//! Names with a meaning of their own: in every template, and among the values of a release.

/// Names known in templates beside arguments.
pub(super) const RESERVED_NAMES: [&str; 7] = [
    "arguments",
    "cluster_package_list",
    "cluster_packages",
    "config_packages",
    "file",
    "late_package",
    "late_values",
];

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
