//! The providers that come with the program, as tables of their files.
//!
//! `cloud` is a base alone: arguments and templates of user data, without outputs.

/// Files of a provider: name and text.
type Files = &'static [(&'static str, &'static str)];

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("built_in/", $folder, "/", $name)))),*]
    };
}

/// Built-in providers by name.
pub(super) const BUILT_IN: &[(&str, Files)] = &[
    ("aws", files!("aws": "provider.yaml", "aws.html", "cloudformation.json")),
    (
        "azure",
        files!("azure": "provider.yaml", "azure.html", "azuredeploy.json", "parameters.json"),
    ),
    (
        "cloud",
        files!("cloud":
            "provider.yaml", "cluster.json", "dcos-version.json", "install.sh", "late-config.yaml",
            "page.html", "user-data.yaml",
        ),
    ),
    (
        "onprem",
        files!("onprem":
            "provider.yaml", "cluster.env", "cluster.json", "common.sh", "dcos-version.json",
            "dcos_install.sh", "dcos_node_upgrade.sh", "detect_fault_domain", "detect_ip",
        ),
    ),
];
