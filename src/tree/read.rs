//! Reading a packages directory: folders and files into checked values, problems beside them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::docker::latest_image;
use super::files::{NamedFile, files_of_kind, package_name, read_text, stays_in, unreadable};
use super::found::FoundFolder;
use super::{Package, PackageFolder, PackageKey, PackageTree, TreeError, TreeFile, position};
use crate::base::parallel;
use crate::package::{BuildInfo, PackageName, Problem, Report, TreeInfo, Variant};

const TREE_INFO: &str = "treeinfo.json";
const BUILD_SCRIPT: &str = "build";

/// Folders of builders, beside a packages directory.
const BUILDERS: [&str; 2] = ["rootfs", "pkgpanda/docker"];

impl PackageTree {
    /// Reads a packages directory, and those of its upstreams, nearest first. A package of an
    /// upstream, with all its variants, is used if no nearer directory has that name.
    pub fn read(root: &Path, upstreams: &[PathBuf]) -> Result<Self, TreeError> {
        let mut tree = Self {
            root: root.to_owned(),
            folders: BTreeMap::new(),
            misnamed_folders: Vec::new(),
            trees: BTreeMap::new(),
            misnamed_trees: Vec::new(),
            docker_folders: BTreeMap::new(),
            warnings: Vec::new(),
        };
        // In this order: what is read first is nearer, and hides what upstreams have under the same
        // name.
        tree.add_packages(root)?;
        tree.add_builders(root)?;
        tree.add_trees(root)?;
        for upstream in upstreams {
            if !upstream.is_dir() {
                return Err(TreeError::UpstreamWithoutPackages(upstream.clone()));
            }
            tree.add_packages(upstream)?;
        }
        Ok(tree)
    }

    fn add_packages(&mut self, root: &Path) -> Result<(), TreeError> {
        let entries = fs_err::read_dir(root).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = entries.map_err(TreeError::Unreadable)?;
        // Mostly waiting for system calls, each of which is short.
        let found =
            parallel::each_short(&entries, |entry| FoundFolder::read(root, entry, &self.folders));
        for found in found {
            match found {
                FoundFolder::Nothing => {}
                FoundFolder::Package { name, folder, docker } => {
                    if let Some(docker) = docker {
                        // The nearest one counts, as with packages.
                        self.docker_folders.entry(name.clone()).or_insert(docker);
                    }
                    self.folders.extend(folder.map(|folder| (name, folder)));
                }
                FoundFolder::Misnamed(report) => self.misnamed_folders.push(report),
                FoundFolder::PackageCalledCache(report) => self.warnings.push(report),
            }
        }
        self.misnamed_folders.sort_by(|a, b| a.path().cmp(b.path()));
        Ok(())
    }

    /// The builders in `rootfs/<builder>/Dockerfile` and, as a checkout of DC/OS has them, in
    /// `pkgpanda/docker/<builder>/Dockerfile`, beside the packages directory.
    fn add_builders(&mut self, root: &Path) -> Result<(), TreeError> {
        let Some(above) = root.parent() else { return Ok(()) };
        BUILDERS.iter().try_for_each(|folder| self.add_builders_of(above, &above.join(folder)))
    }

    fn add_builders_of(&mut self, above: &Path, folder: &Path) -> Result<(), TreeError> {
        let entries = match fs_err::read_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(()),
            entries => entries.map_err(TreeError::Unreadable)?,
        };
        for entry in entries {
            let entry = entry.map_err(TreeError::Unreadable)?;
            let path = entry.path();
            let Ok(name) = package_name(&entry.file_name()) else { continue };
            let dockerfile = path.join("Dockerfile");
            if !dockerfile.is_file() {
                continue;
            }
            stays_in(above, &dockerfile).map_err(|report| TreeError::Problems(vec![report]))?;
            if let Some(other) = self.docker_folders.get(&name) {
                let other = other.clone();
                return Err(TreeError::BuilderTwice { name, builder: path, other });
            }
            self.docker_folders.insert(name, path);
        }
        Ok(())
    }

    fn add_trees(&mut self, root: &Path) -> Result<(), TreeError> {
        let files = files_of_kind(root, TREE_INFO).map_err(TreeError::Unreadable)?;
        for (path, variant) in files {
            match variant {
                Err(report) => self.misnamed_trees.push(report),
                Ok(variant) => {
                    let file = TreeFile::read(path);
                    self.trees.insert(variant, file);
                }
            }
        }
        Ok(())
    }
}

impl TreeFile {
    fn read(path: PathBuf) -> Result<Self, Report> {
        let text = read_text(path.parent().unwrap_or(&path), &path)?;
        let info = TreeInfo::parse(&text).map_err(|problem| problem.in_file(&path, &text))?;
        Ok(Self { path, text, info })
    }
}

impl PackageFolder {
    pub(super) fn read(
        name: &PackageName,
        base: &Path,
        path: PathBuf,
        has_docker: bool,
        files: std::io::Result<Vec<NamedFile>>,
    ) -> Self {
        let mut folder = Self { path, problems: Vec::new(), variants: BTreeMap::new() };
        match files {
            Err(error) => folder.problems.push(unreadable(&folder.path, &error)),
            Ok(files) => {
                for (file, variant) in files {
                    match variant {
                        Err(report) => folder.problems.push(report),
                        Ok(variant) => {
                            let key = PackageKey { name: name.clone(), variant: variant.clone() };
                            let package = Package::read(key, base, &folder.path, has_docker, &file);
                            folder.variants.insert(variant, package);
                        }
                    }
                }
            }
        }
        folder
    }
}

impl Package {
    fn read(
        key: PackageKey,
        base: &Path,
        folder: &Path,
        has_docker: bool,
        file: &Path,
    ) -> Result<Self, Vec<Report>> {
        let text = read_text(base, file).map_err(|report| vec![report])?;
        let report = |problem: Problem| problem.in_file(file, &text);
        let mut info = BuildInfo::parse_all(&text, &key.name, &key.variant)
            .map_err(|faults| faults.into_iter().map(report).collect::<Vec<_>>())?;
        // A variant without a script of its own is built by the package's, as the user documents of the
        // original say, and as that did until 2018-03.
        let is_there = |name: &str| fs_err::symlink_metadata(folder.join(name)).is_ok();
        if key.variant != Variant::DEFAULT
            && position::value_at(&text, &["build_script"]).is_none()
            && !is_there(&info.build_script)
            && is_there(BUILD_SCRIPT)
        {
            BUILD_SCRIPT.clone_into(&mut info.build_script);
        }
        check_build_script(folder, &info, &text).map_err(|problem| vec![report(problem)])?;
        let extra = folder.join("extra");
        let has_extra = match fs_err::symlink_metadata(&extra) {
            Ok(found) if found.is_symlink() => {
                if !extra.exists() {
                    let problem =
                        Problem::whole("extra is a symlink to something that does not exist");
                    return Err(vec![report(problem)]);
                }
                stays_in(base, &extra).map_err(|report| vec![report])?;
                true
            }
            found => found.is_ok(),
        };
        let mut warnings: Vec<Report> = info.warnings.iter().cloned().map(report).collect();
        if info.docker.is_none() && has_docker {
            warnings.push(report(
                Problem::whole(
                    "the package has a docker folder, but is built in the default image",
                )
                .hint(format!("add \"docker\": \"{}\"", latest_image(&key.name))),
            ));
        }
        Ok(Self { key, folder: folder.to_owned(), info, has_extra, warnings, text })
    }
}

fn check_build_script(folder: &Path, info: &BuildInfo, text: &str) -> Result<(), Problem> {
    let script = folder.join(&info.build_script);
    let wrong = |what: &str, hint: &str| {
        let message = format!("the build script {} {what}", info.build_script);
        position::problem(position::value_at(text, &["build_script"]), message, hint.to_owned())
    };
    let is_name = {
        let mut components = Path::new(&info.build_script).components();
        matches!(components.next(), Some(Component::Normal(_))) && components.next().is_none()
    };
    // Nearly always, and much cheaper to find out than where everything really lies.
    if is_name && fs_err::symlink_metadata(&script).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    let metadata = fs_err::metadata(&script).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            wrong("is not there", "write it, or name another one with build_script")
        }
        _ => wrong(&format!("can't be read: {error}"), "make it readable"),
    })?;
    if !metadata.is_file() {
        return Err(wrong("is not a regular file", "name the script itself with build_script"));
    }
    let inside = fs_err::canonicalize(folder)
        .and_then(|folder| Ok(fs_err::canonicalize(&script)?.starts_with(folder)));
    match inside {
        Ok(true) => Ok(()),
        Ok(false) => Err(wrong(
            "is a link that leaves the package's folder, which is all that a build sees",
            "put the script itself into the package's folder",
        )),
        Err(error) => Err(wrong(&format!("can't be found: {error}"), "make it readable")),
    }
}
