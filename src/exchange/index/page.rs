//! The index as a single HTML page.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use super::contents::{Bootstrap, PackageVersion, StoreIndex};
use crate::base::total::total;
use crate::package::paths::{bootstrap_path, package_path};
use crate::package::{PackageId, PackageName};

const FRAME: &str = include_str!("page.html");
/// Number of digits of a bootstrap's id in a table.
const SHORT: usize = 12;
/// Number of items of a list that are shown at once.
const OPEN: usize = 6;

/// Text with escaped markup.
struct Escaped<T>(T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of a store may have control characters, which HTML forbids even as references.
        let text = self.0.to_string().replace(char::is_control, "\u{fffd}");
        f.write_str(&crate::base::escape::html(&text))
    }
}

/// Text of the page.
pub(super) fn page(index: &StoreIndex) -> String {
    let mut names = String::new();
    let mut packages = String::new();
    for (name, versions) in &index.packages {
        let (anchor, name) = (Escaped(anchor(name)), Escaped(name));
        push(&mut names, format_args!("<li><a href=\"#{anchor}\">{name}</a></li>\n"));
        push(&mut packages, format_args!("<section id=\"{anchor}\">\n<h3>{name}</h3>\n"));
        table(&mut packages, &["Version", "Size", "Requires", "In bootstraps"]);
        for version in versions {
            row(&mut packages, version, index);
        }
        packages.push_str("</tbody>\n</table>\n</section>\n");
    }
    let mut bootstraps = String::new();
    if !index.bootstraps.is_empty() {
        bootstraps.push_str("<section>\n<h2>Bootstraps</h2>\n");
        table(&mut bootstraps, &["Bootstrap", "Size", "Packages"]);
        for bootstrap in &index.bootstraps {
            bootstrap_row(&mut bootstraps, bootstrap, index);
        }
        bootstraps.push_str("</tbody>\n</table>\n</section>\n");
    }
    // The placeholders of the frame are replaced once, from its end: inserted text is not searched.
    let mut text = String::with_capacity(FRAME.len() + names.len() + packages.len());
    let mut rest = FRAME;
    for (name, value) in [
        ("{counts}", &counts(index)),
        ("{names}", &names),
        ("{packages}", &packages),
        ("{bootstraps}", &bootstraps),
    ] {
        if let Some((before, after)) = rest.split_once(name) {
            text.push_str(before);
            text.push_str(value);
            rest = after;
        }
    }
    text + rest
}

fn push(text: &mut String, more: fmt::Arguments<'_>) {
    text.write_fmt(more).unwrap_or_else(|_| unreachable!("a text takes everything"));
}

fn anchor(name: &PackageName) -> String {
    format!("package-{name}")
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn counts(index: &StoreIndex) -> String {
    let (packages, versions) = index.counts();
    let sizes = total(index.packages.values().flatten().map(|version| version.size));
    format!(
        "{} in {}, {}; {}; {}",
        counted(packages, "package", "packages"),
        counted(versions, "version", "versions"),
        size(sizes),
        counted(index.bootstraps.len(), "bootstrap", "bootstraps"),
        counted(index.sources.0, "source", "sources"),
    )
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let (mut whole, mut part) = (bytes / 1000, bytes % 1000 / 100);
    while whole >= 1000 && unit + 1 < UNITS.len() {
        (whole, part) = (whole / 1000, whole % 1000 / 100);
        unit += 1;
    }
    format!("{whole}.{part} {}", UNITS[unit])
}

fn table(text: &mut String, columns: &[&str]) {
    text.push_str("<table>\n<thead><tr>");
    for (place, column) in columns.iter().enumerate() {
        let class = match (place, *column) {
            (0, _) => " class=\"id\"",
            (_, "Size") => " class=\"size\"",
            _ => "",
        };
        push(text, format_args!("<th scope=\"col\"{class}>{column}</th>"));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
}

fn row(text: &mut String, version: &PackageVersion, index: &StoreIndex) {
    let (path, shown) = (Escaped(package_path(&version.id)), Escaped(version.id.version()));
    let variant = version.recorded.as_ref().and_then(|recorded| recorded.variant.as_deref());
    push(
        text,
        format_args!("<tr><td data-label=\"Version\"><a href=\"{path}\"><code>{shown}</code></a>"),
    );
    for tag in variant.into_iter().chain(version.is_signed.then_some("signed")) {
        push(text, format_args!(" <span class=\"tag\">{}</span>", Escaped(tag)));
    }
    push(
        text,
        format_args!("</td><td class=\"size\" data-label=\"Size\">{}</td>", size(version.size)),
    );
    text.push_str("<td data-label=\"Requires\">");
    match &version.recorded {
        None => text.push_str("<span class=\"none\">unknown</span>"),
        Some(recorded) => list(text, &ids(&recorded.requires, index)),
    }
    text.push_str("</td><td data-label=\"In bootstraps\">");
    let bootstraps = version.bootstraps.iter().map(|id| {
        let short = &id[..SHORT.min(id.len())];
        format!("<a href=\"#bootstrap-{}\"><code>{}</code></a>", Escaped(id), Escaped(short))
    });
    list(text, &bootstraps.collect::<Vec<_>>());
    text.push_str("</td></tr>\n");
}

fn bootstrap_row(text: &mut String, bootstrap: &Bootstrap, index: &StoreIndex) {
    let (path, id) = (Escaped(bootstrap_path(&bootstrap.id)), Escaped(&bootstrap.id));
    push(
        text,
        format_args!(
            "<tr id=\"bootstrap-{id}\"><td data-label=\"Bootstrap\"><a href=\"{path}\"><code>{id}</code></a>"
        ),
    );
    if bootstrap.is_signed {
        text.push_str(" <span class=\"tag\">signed</span>");
    }
    let size = size(bootstrap.size);
    push(text, format_args!("</td><td class=\"size\" data-label=\"Size\">{size}</td>"));
    text.push_str("<td data-label=\"Packages\">");
    match &bootstrap.packages {
        None => text.push_str("<span class=\"none\">unknown</span>"),
        Some(packages) => list(text, &ids(packages, index)),
    }
    text.push_str("</td></tr>\n");
}

/// Names of packages, with links to those on the page.
fn ids(ids: &BTreeSet<PackageId>, index: &StoreIndex) -> Vec<String> {
    let shown = |id: &PackageId| {
        let name = Escaped(id.name());
        if index.packages.contains_key(id.name()) {
            format!(
                "<a href=\"#{}\" title=\"{}\">{name}</a>",
                Escaped(anchor(id.name())),
                Escaped(id)
            )
        } else {
            format!("<span title=\"{}\">{name}</span>", Escaped(id))
        }
    };
    ids.iter().map(shown).collect()
}

/// A list in a cell; a long one opens on demand.
fn list(text: &mut String, items: &[String]) {
    if items.is_empty() {
        text.push_str("<span class=\"none\">none</span>");
        return;
    }
    let is_long = items.len() > OPEN;
    if is_long {
        push(text, format_args!("<details><summary>{} in all</summary>", items.len()));
    }
    text.push_str("<ul>");
    for item in items {
        push(text, format_args!("<li>{item}</li>"));
    }
    text.push_str(if is_long { "</ul></details>" } else { "</ul>" });
}

#[cfg(test)]
mod tests {
    use super::super::contents::RecordedPackage;
    use super::*;
    use crate::base::digest::Sha256Sum;

    fn version(id: &str, variant: &str, requires: &[&str]) -> PackageVersion {
        PackageVersion {
            id: id.parse().unwrap(),
            size: 1_250_000,
            is_signed: true,
            recorded: Some(RecordedPackage {
                sha256: Sha256Sum::of(b""),
                variant: Some(variant.to_owned()),
                requires: requires.iter().map(|id| id.parse().unwrap()).collect(),
            }),
            bootstraps: BTreeSet::new(),
        }
    }

    #[test]
    fn what_comes_from_a_store_is_text() {
        let hostile = "<script>alert('1')</script>&\"\u{7}{names}{bootstraps}";
        let versions = vec![version("a--1", hostile, &["b--2", "c--3"])];
        let mut index = StoreIndex::default();
        index.packages.insert("a".parse().unwrap(), versions);
        index.packages.insert("b".parse().unwrap(), vec![version("b--2", "v", &[])]);
        let page = page(&index);
        assert!(!page.contains("<script") && !page.contains('\u{7}'), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;"));
        // Text that looks like a placeholder of the frame stays.
        assert!(page.contains("{names}{bootstraps}"));
        assert!(page.contains("2 packages in 2 versions, 2.5 MB; 0 bootstraps; 0 sources"));
        assert!(page.contains("<a href=\"#package-b\" title=\"b--2\">b</a>"));
        assert!(page.contains("<span title=\"c--3\">c</span>"));
        for tag in ["section", "table", "tr", "td", "li", "a", "span", "ul"] {
            let count = |text: &str| page.matches(text).count();
            let opened = count(&format!("<{tag}>")) + count(&format!("<{tag} "));
            assert_eq!(opened, count(&format!("</{tag}>")), "{tag}");
        }
    }

    #[test]
    fn sizes_have_a_digit_after_the_point() {
        let sizes = [0, 999, 1000, 1_250_000, 999_999_999, 5_000_000_000_000_000];
        let shown = ["0 B", "999 B", "1.0 kB", "1.2 MB", "999.9 MB", "5000.0 TB"];
        for (bytes, text) in sizes.into_iter().zip(shown) {
            assert_eq!(size(bytes), text);
        }
    }
}
