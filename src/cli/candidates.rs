//! Names that a shell completes: packages, variants and images that are there.

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use super::environment::Environment;
use super::home_folder::home_folder;
use super::schemas::SCHEMAS;
use crate::build::history;
use crate::image::reference::ImageRef;
use crate::image::store::ImageStore;
use crate::package::{PackageName, variant_of_file};
use crate::runner::home::Home;
use crate::tree::has_buildinfo;

/// Names of the tree's packages, and of all that were built.
pub(super) fn packages() -> ArgValueCandidates {
    // A shell shows nothing of an error while it completes a word: what cannot be read has no
    // names.
    ArgValueCandidates::new(|| {
        package_names().iter().map(|name| CompletionCandidate::new(name.as_str())).collect()
    })
}

/// Variants that files of the working directory describe, `default` for the default one.
pub(super) fn variants() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let mut names: Vec<String> = Vec::new();
        for file in files_here() {
            for kind in ["treeinfo.json", "buildinfo.json"] {
                if let Some(Ok(variant)) = variant_of_file(&file, kind) {
                    names.push(variant.name().unwrap_or("default").to_owned());
                }
            }
        }
        names.sort();
        names.dedup();
        names.into_iter().map(CompletionCandidate::new).collect()
    })
}

/// Names of the images of the store.
pub(super) fn images() -> ArgValueCandidates {
    ArgValueCandidates::new(|| image_names().into_iter().map(CompletionCandidate::new).collect())
}

/// Names of a tree's inputs: packages, and images.
pub(super) fn inputs() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let names = package_names().into_iter().map(|name| name.to_string());
        names.chain(image_names()).map(CompletionCandidate::new).collect()
    })
}

/// Names of schemas.
pub(super) fn schemas() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        SCHEMAS.iter().map(|(name, _)| CompletionCandidate::new(*name)).collect()
    })
}

fn package_names() -> Vec<PackageName> {
    let mut names = entries_with_buildinfo();
    names.extend(own_home().and_then(|home| history::names(&home).ok()).unwrap_or_default());
    names.sort();
    names.dedup();
    names
}

fn image_names() -> Vec<String> {
    let store = own_home().and_then(|home| ImageStore::open(home.root()).ok());
    let listing = store.and_then(|store| store.list().ok());
    let images = listing.map(|listing| listing.images).unwrap_or_default();
    images.iter().flat_map(|image| image.references.iter().map(ImageRef::familiar)).collect()
}

fn own_home() -> Option<Home> {
    // Completion runs before the settings exist: `MKPANDA_HOME` alone says where the folder is.
    let root = home_folder(&Environment::from_process()).ok()?;
    Some(Home::new(root, None))
}

/// Names of the files in the working directory.
fn files_here() -> Vec<String> {
    let entries = fs_err::read_dir(".").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Names of packages whose folders lie in the working directory.
fn entries_with_buildinfo() -> Vec<PackageName> {
    let entries = fs_err::read_dir(".").into_iter().flatten().flatten();
    let packages = entries.filter(|entry| has_buildinfo(&entry.path()));
    packages.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command, CommandFactory};

    use super::super::args::Cli;
    use super::*;

    /// Arguments of a command and of its subcommands, each with the command's name before it.
    fn arguments(command: &Command, above: &str) -> Vec<(String, Arg)> {
        let name = format!("{above} {}", command.get_name());
        let own = command.get_arguments().map(|argument| (name.clone(), argument.clone()));
        let below = command.get_subcommands().flat_map(|command| arguments(command, &name));
        own.chain(below).collect()
    }

    /// True for arguments that mean a package, a variant, or an image of the store.
    fn is_name(argument: &Arg) -> bool {
        const IDS: [&str; 7] =
            ["package", "packages", "variant", "variants", "image", "images", "update"];
        const VALUES: [&str; 5] = ["PACKAGE", "PKG", "VARIANT", "IMAGE", "IMAGES"];
        let values = argument.get_value_names().unwrap_or_default();
        let mut words = values.iter().flat_map(|value| value.split('|'));
        argument.get_action().takes_values()
            && (IDS.contains(&argument.get_id().as_str())
                || words.any(|word| VALUES.contains(&word)))
    }

    #[test]
    fn every_name_of_a_package_a_variant_or_an_image_is_completed() {
        let all = arguments(&Cli::command(), "");
        // A new package has a name that nothing has yet.
        let is_new = |command: &str| command == " mkpanda init";
        let names: Vec<_> = all
            .iter()
            .filter(|(command, argument)| is_name(argument) && !is_new(command))
            .collect();
        assert!(names.len() > 20, "{}", names.len());
        for (command, argument) in names {
            let is_completed = argument.get::<ArgValueCandidates>().is_some();
            assert!(is_completed, "{command} {}", argument.get_id());
        }
    }
}
