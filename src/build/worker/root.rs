//! The container's root of one build: the image's layers, or the machine's own `/usr`.

use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::Mode;

use crate::base::causes::with_causes;
use crate::base::event::Phase;
use crate::base::within::open_within;
use crate::container::idmap::Tier;
use crate::container::machine::RootKind;
use crate::container::overlay;
use crate::container::sandbox::{Bind, User};
use crate::image::config::RunConfig;
use crate::image::host::HostRoot;
use crate::image::layers::{UnpackOptions, ensure_unpacked, restore_implied_folders};
use crate::image::store::LayerBlob;
use crate::image::user::resolve_user;

use super::super::job::{BuildRoot, Failure};
use super::build::Work;
use super::{failure, unprepared};

/// A root, and how a command runs in it.
pub(super) struct Made {
    pub(super) binds: Vec<Bind>,
    pub(super) entrypoint: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) working_directory: PathBuf,
    pub(super) user: User,
    /// Whom the one id belongs to, if there is only one and it isn't root.
    pub(super) sole_user: Option<(u32, u32)>,
    pub(super) home: PathBuf,
}

/// Makes the root in the view.
pub(super) fn make(work: &Work<'_>, notes: &mut Vec<String>) -> Result<Made, Failure> {
    let (config, binds) = match &work.job.image {
        BuildRoot::Layers(image) => {
            let layers: Vec<LayerBlob> = image
                .layers
                .iter()
                .map(|layer| LayerBlob { path: work.place(&layer.path), ..layer.clone() })
                .collect();
            let options = UnpackOptions {
                single_id: work.job.machine.tier() == Tier::Single,
                limits: work.job.limits,
            };
            let home = work.place(&work.job.layers);
            let knows = |folder: &Path| overlay::knows_attribute_whiteouts(&work.view, folder);
            let folders = ensure_unpacked(&home, &layers, &options, knows).map_err(|error| {
                let place = work.job.layers.display();
                Failure {
                    message: format!("{} (unpacked into {place})", with_causes(&error)),
                    hint: (work.job.machine.root != RootKind::Overlay).then(|| {
                        "set MKPANDA_HOME to a folder on a filesystem of its own, such as a volume of the outer container".to_owned()
                    }),
                    ..unprepared(error)
                }
            })?;
            make_overlay(work, &folders)?;
            restore_implied_folders(&work.view.root(), &folders)
                .map_err(|error| failure(Phase::Prepare, with_causes(&error)))?;
            (image.config.clone(), Vec::new())
        }
        BuildRoot::Host { root, config } => {
            make_overlay(work, &[])?;
            notes.push("built in the machine's own root (image host)".to_owned());
            (config.clone(), host_binds(work, root)?)
        }
    };
    prepare(work, config, binds)
}

fn make_overlay(work: &Work<'_>, layers: &[PathBuf]) -> Result<(), Failure> {
    overlay::make_root(&work.view, layers, &work.scratch(""), &work.job.machine.root)
        .map_err(unprepared)
}

/// Lays the machine's own folders out over an empty root; gives what is to be bound into it.
fn host_binds(work: &Work<'_>, host: &HostRoot) -> Result<Vec<Bind>, Failure> {
    let root = work.view.root();
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    for folder in &host.folders {
        let place = below(&folder.path);
        make_folder(&place)?;
        let mode = std::fs::Permissions::from_mode(folder.mode);
        fs_err::set_permissions(place, mode).map_err(unprepared)?;
    }
    for link in &host.symlinks {
        let place = below(&link.path);
        make_folder(place.parent().unwrap_or(&root))?;
        fs_err::os::unix::fs::symlink(&link.target, place).map_err(unprepared)?;
    }
    let bind = |source: &Path, target: &Path| Bind {
        source: source.to_owned(),
        target: target.to_owned(),
        writable: false,
    };
    let mut binds: Vec<Bind> =
        host.binds.iter().map(|found| bind(&found.source, &found.target)).collect();
    let empty = work.view.path().join("empty");
    make_folder(&empty)?;
    binds.extend(host.hidden.iter().map(|hidden| bind(&empty, hidden)));
    Ok(binds)
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    fs_err::create_dir_all(path).map_err(unprepared)
}

/// Resolves the user and makes what the command expects to find.
fn prepare(work: &Work<'_>, config: RunConfig, binds: Vec<Bind>) -> Result<Made, Failure> {
    let root = fs_err::File::open(work.view.root()).map_err(unprepared)?;
    let passwd = read_in_root(&root, "etc/passwd")?;
    let group = read_in_root(&root, "etc/group")?;
    let user =
        resolve_user(&config.user, passwd.as_deref(), group.as_deref()).map_err(unprepared)?;
    make_in_root(&root, &config.working_dir, 0o755)?;
    make_in_root(&root, Path::new("/tmp"), 0o1777)?;
    let ids = (user.uid, user.gid);
    let is_single = work.job.machine.tier() == Tier::Single;
    let (user, sole_user, home) = if is_single {
        // Everything belongs to the one id, and `setgroups` is off.
        (User::default(), (ids != (0, 0)).then_some(ids), user.home)
    } else {
        if ids != (0, 0) {
            for folder in ["src", "result"] {
                own_tree(&work.scratch(folder), user.uid, user.gid)?;
            }
        }
        (User { uid: user.uid, gid: user.gid, groups: user.additional_gids }, None, user.home)
    };
    Ok(Made {
        binds,
        entrypoint: config.entrypoint,
        environment: config.env,
        working_directory: config.working_dir,
        user,
        sole_user,
        home,
    })
}

/// The most that `/etc/passwd` and the like may have.
const LARGEST_DATABASE: u64 = 4 << 20;

/// Reads a file of the root as a process inside would see it: symlinks don't lead out of it.
fn read_in_root(root: &fs_err::File, path: &str) -> Result<Option<String>, Failure> {
    let Some(file) = open_in_root(root, Path::new(path))? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(LARGEST_DATABASE).read_to_end(&mut bytes).map_err(unprepared)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Opens a file of the root as a process inside would see it, if there is one.
pub(super) fn open_in_root(
    root: &fs_err::File,
    path: &Path,
) -> Result<Option<std::fs::File>, Failure> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = match open_within(root.file(), path, how) {
        Ok(file) => std::fs::File::from(file),
        Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR) => return Ok(None),
        Err(errno) => {
            let path = path.display();
            return Err(failure(Phase::Prepare, format!("can't read the image's {path}: {errno}")));
        }
    };
    Ok(file.metadata().is_ok_and(|metadata| metadata.is_file()).then_some(file))
}

/// Makes a folder of the root and those above it, without leaving the root.
fn make_in_root(root: &fs_err::File, path: &Path, mode: u32) -> Result<(), Failure> {
    let wrong = |errno: nix::errno::Errno| {
        failure(
            Phase::Prepare,
            format!("can't make the folder {} in the image: {errno}", path.display()),
        )
    };
    let open = |path: &Path| {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        open_within(
            root.file(),
            if path.as_os_str().is_empty() { Path::new(".") } else { path },
            how,
        )
    };
    let mut made = PathBuf::new();
    let parts: Vec<_> =
        path.components().filter(|part| matches!(part, std::path::Component::Normal(_))).collect();
    for (index, part) in parts.iter().enumerate() {
        let parent = open(&made).map_err(wrong)?;
        made.push(part);
        if open(&made).is_ok() {
            continue;
        }
        nix::sys::stat::mkdirat(&parent, part.as_os_str(), Mode::from_bits_truncate(0o755))
            .map_err(wrong)?;
        if index + 1 == parts.len() && mode != 0o755 {
            let flags = nix::sys::stat::FchmodatFlags::FollowSymlink;
            nix::sys::stat::fchmodat(
                &parent,
                part.as_os_str(),
                Mode::from_bits_truncate(mode),
                flags,
            )
            .map_err(wrong)?;
        }
    }
    Ok(())
}

fn own_tree(folder: &Path, uid: u32, gid: u32) -> Result<(), Failure> {
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.map_err(unprepared)?;
        let own = if entry.file_type().is_symlink() { lchown } else { chown };
        own(entry.path(), Some(uid), Some(gid)).map_err(unprepared)?;
    }
    Ok(())
}
