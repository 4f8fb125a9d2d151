//! Releases for people and programs: a list of channels, one release as text, JSON and a page.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::artifact::DescribedArtifact;
use super::error::ReleaseError;
use super::layout::{Commit, LayoutError, is_of_release};
use super::metadata::{METADATA, Metadata};
use super::parallel::each;
use super::storage::Storage;
use super::survey::read_text;
use crate::base::escape::html;
use crate::base::event::Observer;
use crate::package::Variant;
use crate::package::paths::{bootstrap_path, package_path};
use crate::store::{Listed, ObjectKey, StoreTransfer};

/// Channel with its release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRelease {
    /// Path of the channel.
    pub channel: String,
    /// The release; the reason for which it cannot be shown.
    pub release: Result<ReleaseName, String>,
}

/// Name of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseName {
    /// Commit of the tree.
    pub commit: Commit,
    /// Name that people gave to the release.
    pub tag: String,
}

/// Size in bytes from which descriptions are read one after another: in memory, a parsed one takes many times its bytes.
const LARGE: u64 = 4 << 20;

/// Lists the channels of a repository in a storage, or all.
pub fn list(
    storage: &Storage,
    repository: Option<&str>,
    observer: &dyn Observer,
) -> Result<Vec<ListedRelease>, ReleaseError> {
    let below: Option<ObjectKey> =
        repository.map(|path| path.parse().map_err(LayoutError::from)).transpose()?;
    let transfer = StoreTransfer { subject: repository.unwrap_or("releases"), observer };
    let objects = storage.backend().list(below.as_ref(), &transfer);
    let objects = objects.map_err(ReleaseError::reading(&storage.name))?;
    let channel = |listed: &Listed| {
        let path = listed.key.as_str().strip_suffix(METADATA)?.strip_suffix('/')?;
        // The same documents under their commits, of which there may be thousands.
        (!is_of_release(path)).then(|| (path.to_owned(), listed.size))
    };
    let channels: Vec<(String, u64)> = objects.iter().filter_map(channel).collect();
    let large = Mutex::new(());
    let alone =
        |bytes: u64| (bytes > LARGE).then(|| large.lock().unwrap_or_else(PoisonError::into_inner));
    each(&channels, |(channel, bytes)| {
        let before = alone(*bytes);
        let release = match read_text(storage, channel, observer) {
            Ok((_, text)) => {
                // The size that the storage has listed need not be that of what it gives.
                let _alone = before.or_else(|| alone(text.len() as u64));
                let metadata = Metadata::parse(&text);
                metadata.map(|Metadata { commit, tag, .. }| ReleaseName { commit, tag })
            }
            Err(ReleaseError::Metadata { reason, .. }) => Err(reason),
            Err(error) => return Err(error),
        };
        Ok(ListedRelease { channel: channel.clone(), release })
    })
}

/// Channels as lines.
pub fn list_text(releases: &[ListedRelease]) -> String {
    let line = |listed: &ListedRelease| match &listed.release {
        Ok(release) => format!("{} {} {}\n", listed.channel, release.commit, release.tag),
        Err(reason) => format!("{} is not a release: {reason}\n", listed.channel),
    };
    releases.iter().map(line).collect()
}

/// Channels as JSON.
pub fn list_json(releases: &[ListedRelease]) -> Value {
    let object = |listed: &ListedRelease| match &listed.release {
        Ok(release) => {
            json!({ "channel": listed.channel, "commit": release.commit, "tag": release.tag })
        }
        Err(reason) => json!({ "channel": listed.channel, "error": reason }),
    };
    releases.iter().map(object).collect()
}

/// The storage's URL of a path.
fn url(metadata: &Metadata, path: &str) -> String {
    let base = metadata.repository_url.strip_suffix(&metadata.repository_path);
    format!("{}{path}", base.unwrap_or_default())
}

/// Permanent URL of a release's artifact.
fn artifact_url(metadata: &Metadata, artifact: &DescribedArtifact) -> Option<String> {
    match (&artifact.channel_path, &artifact.reproducible_path) {
        (Some(path), _) => {
            Some(url(metadata, &format!("{}/{path}", metadata.reproducible_artifact_path)))
        }
        (None, Some(path)) => Some(format!("{}/{path}", metadata.repository_url)),
        (None, None) => None,
    }
}

fn artifact_name(artifact: &DescribedArtifact) -> &str {
    let path = artifact.channel_path.as_ref().or(artifact.reproducible_path.as_ref());
    path.map(ObjectKey::as_str).unwrap_or_default()
}

/// A release as lines.
pub fn show_text(metadata: &Metadata) -> String {
    let mut text = format!(
        "release of {}: {}\ncommit {}\nfiles  {}\n",
        metadata.build_name,
        metadata.tag,
        metadata.commit,
        url(metadata, &metadata.reproducible_artifact_path)
    );
    for (name, url) in &metadata.storage_urls {
        _ = writeln!(text, "storage {name}: {url}");
    }
    for (variant, complete) in &metadata.all_completes {
        let count = complete.packages.len();
        _ = writeln!(text, "tree {variant}: bootstrap {}, {count} packages", complete.bootstrap);
        for package in &complete.packages {
            _ = writeln!(text, "  {package}");
        }
    }
    for artifact in &metadata.channel_artifacts {
        if artifact.channel_path.is_some() {
            _ = writeln!(text, "file {}", artifact_name(artifact));
        }
    }
    text
}

/// A release as JSON.
pub fn show_json(metadata: &Metadata) -> Value {
    let trees: Vec<Value> = metadata
        .all_completes
        .iter()
        .map(|(variant, complete)| {
            json!({
                "variant": variant.name(),
                "bootstrap": complete.bootstrap,
                "packages": complete.packages,
            })
        })
        .collect();
    let files: Vec<Value> = metadata
        .channel_artifacts
        .iter()
        .map(|artifact| {
            json!({
                "path": artifact_name(artifact),
                "url": artifact_url(metadata, artifact),
                "content_type": artifact.content_type,
            })
        })
        .collect();
    json!({
        "channel": metadata.build_name,
        "commit": metadata.commit,
        "tag": metadata.tag,
        "repository_url": metadata.repository_url,
        "release_url": url(metadata, &metadata.reproducible_artifact_path),
        "storage_urls": metadata.storage_urls,
        "trees": trees,
        "files": files,
    })
}

const STYLE: &str = include_str!("page.css");

/// Renders a release as an HTML page without scripts and external resources.
pub fn show_page(metadata: &Metadata) -> String {
    let title = format!("{} {}", metadata.build_name, metadata.tag);
    let mut body = format!(
        "<header><p class=\"channel\">{}</p><h1>{}</h1><p>Commit <code>{}</code></p></header>\n",
        html(&metadata.build_name),
        html(&metadata.tag),
        html(metadata.commit.as_str())
    );
    files_section(metadata, &mut body);
    trees_section(metadata, &mut body);
    body.push_str("<section><h2>Storages</h2>\n<table><tbody>\n");
    for (name, url) in &metadata.storage_urls {
        _ = writeln!(
            body,
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
            html(name),
            link(url, url)
        );
    }
    body.push_str("</tbody></table></section>\n");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        html(&title)
    )
}

fn files_section(metadata: &Metadata, body: &mut String) {
    let files = metadata.channel_artifacts.iter().filter(|file| file.channel_path.is_some());
    body.push_str("<section><h2>Files</h2>\n<ul class=\"files\">\n");
    for file in files {
        let url = artifact_url(metadata, file).unwrap_or_default();
        _ = writeln!(body, "<li>{}</li>", link(&url, artifact_name(file)));
    }
    body.push_str("</ul></section>\n");
}

fn trees_section(metadata: &Metadata, body: &mut String) {
    body.push_str("<section><h2>Trees</h2>\n");
    for (variant, complete) in &metadata.all_completes {
        let name = if *variant == Variant::DEFAULT { "default" } else { variant.hashed() };
        let bootstrap =
            format!("{}/{}", metadata.repository_url, bootstrap_path(&complete.bootstrap));
        _ = writeln!(
            body,
            "<details><summary>{} <span class=\"count\">{} packages</span></summary>\n<p>Bootstrap {}</p>\n<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Package</th><th scope=\"col\">Version</th></tr></thead><tbody>",
            html(name),
            complete.packages.len(),
            link(&bootstrap, complete.bootstrap.as_str())
        );
        for package in &complete.packages {
            let url = format!("{}/{}", metadata.repository_url, package_path(package));
            _ = writeln!(
                body,
                "<tr><td>{}</td><td>{}</td></tr>",
                html(package.name().as_str()),
                link(&url, package.version().as_str())
            );
        }
        body.push_str("</tbody></table></div></details>\n");
    }
    body.push_str("</section>\n");
}

/// Makes a link, if browsers open the URL.
fn link(url: &str, text: &str) -> String {
    let text = html(text);
    // `javascript:` and the like would run with a click; the URLs are from a file that others may
    // write.
    if ["http://", "https://", "file:///"].iter().any(|scheme| url.starts_with(scheme)) {
        format!("<a href=\"{}\">{text}</a>", html(url))
    } else {
        format!("<code>{text}</code>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_texts_and_runs_none() {
        let text = include_bytes!("../../tests/data/release/metadata.json");
        let mut metadata = Metadata::parse(text).unwrap();
        metadata.tag = "<script>alert(\"x\")</script>&'".to_owned();
        metadata.storage_urls.insert("bad".to_owned(), "javascript:alert(1)".to_owned());
        let page = show_page(&metadata);
        assert!(page.contains("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&#39;"));
        assert!(!page.contains("<script") && !page.contains("href=\"javascript"), "{page}");
        for (variant, complete) in &metadata.all_completes {
            assert!(page.contains(complete.bootstrap.as_str()), "{variant}");
        }
        assert!(page.contains("prefers-color-scheme: dark"), "{page}");
        assert!(!page.contains("src=") && !page.contains("@import") && !page.contains("url("));
    }
}
