//! Texts of new files.

use serde_json::json;

use super::NewSource;
use crate::package::PackageName;

/// `mkpanda.toml` of a new tree.
pub(super) const CONFIGURATION: &str = r#"# How builds of this tree work. What concerns this machine alone belongs into ~/.config/mkpanda/config.toml, which has
# the same keys.

# Folders, tar archives or URLs that are asked for sources and images first:
# mirrors = ["../mirror"]

# Latest time of files in packages, in seconds since 1970; it is the same for everybody who builds the tree:
# source_date_epoch = 315532800

[images]
# The image of packages that name none. "host" is this machine's own /usr, read-only: no download, but other machines
# have other compilers, and so other package ids. A real image, for builds that are the same everywhere:
#   "docker://debian:12", "docker-archive:builder.tar", "oci:FOLDER", "dockerfile:FOLDER"
"dcos/dcos-builder:dcos-builder_dockerdir-latest" = "host"

# Limits of each build:
# [limits]
# time = "4h"
# memory = "8G"
"#;

/// Build script of the example.
pub(super) const EXAMPLE: &str = r#"#!/bin/bash
set -o errexit -o nounset -o pipefail

# What is left in $PKG_PATH is the package. Sources that buildinfo.json declares lie in /pkg/src/<name>, files of the
# folder extra/ in /pkg/extra, and packages that it requires in /opt/mesosphere.
mkdir -p "$PKG_PATH/bin"
printf '#!/bin/sh\necho "Hello from %s"\n' "$PKG_NAME" > "$PKG_PATH/bin/hello"
chmod +x "$PKG_PATH/bin/hello"
"#;

/// Build script of a package without a source.
pub(super) const PACKAGE: &str = r#"#!/bin/bash
set -o errexit -o nounset -o pipefail

# What is left in $PKG_PATH is the package. Sources that buildinfo.json declares lie in /pkg/src/<name>, files of the
# folder extra/ in /pkg/extra, and packages that it requires in /opt/mesosphere.
mkdir -p "$PKG_PATH/bin"
"#;

/// Build script of a package with a source.
pub(super) fn with_source(name: &PackageName) -> String {
    format!(
        r#"#!/bin/bash
set -o errexit -o nounset -o pipefail

# The source lies in /pkg/src/{name}; what is left in $PKG_PATH is the package. Most sources want something like
#   cd /pkg/src/{name}/*/ && ./configure --prefix="$PKG_PATH" && make && make install
mkdir -p "$PKG_PATH/share"
cp -R "/pkg/src/{name}" "$PKG_PATH/share/"
"#
    )
}

/// `buildinfo.json` of a package, with its source.
pub(super) fn buildinfo(source: Option<(&PackageName, &NewSource)>) -> String {
    let Some((name, source)) = source else { return "{\n  \"requires\": []\n}\n".to_owned() };
    let text = |value: &str| json!(value).to_string();
    let sha256 = match &source.sha256 {
        None => String::new(),
        Some(sum) => format!(",\n      \"sha256\": {}", text(sum.as_str())),
    };
    format!(
        "{{\n  \"requires\": [],\n  \"sources\": {{\n    {}: {{\n      \"kind\": {},\n      \"url\": {},\n      \"sha1\": {}{sha256}\n    }}\n  }}\n}}\n",
        text(name.as_str()),
        text(source.kind()),
        text(&source.url),
        text(source.sha1.as_str()),
    )
}
