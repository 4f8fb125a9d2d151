//! The providers that come with the program, as tables of their files.

/// Files of a provider: name and text.
type Files = &'static [(&'static str, &'static str)];

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("built_in/", $folder, "/", $name)))),*]
    };
}

/// Built-in providers by name.
pub(super) const BUILT_IN: &[(&str, Files)] =
    &[("onprem", files!("onprem": "provider.yaml", "dcos_install.sh"))];
