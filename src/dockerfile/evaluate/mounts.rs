//! `RUN --mount`.

use super::{StageState, paths};
use crate::dockerfile::expand::{Expander, expand};
use crate::dockerfile::model::{MountFlag, MountKind, Position};
use crate::dockerfile::step::{CopyOrigin, RunMount, Sharing};
use crate::dockerfile::syntax::MountOptions;
use crate::package::Problem;

/// Default folder of secrets.
const SECRETS: &str = "/run/secrets";
/// The mode of a cache's folder, unless it says so itself.
const CACHE_MODE: u32 = 0o755;
/// The mode of a secret's file, unless it says so itself.
const SECRET_MODE: u32 = 0o400;
/// Default id of a secret or an agent.
const DEFAULT_ID: &str = "default";

impl StageState {
    pub(super) fn mounts(
        &self,
        mounts: &[MountFlag],
        position: &Position,
    ) -> Result<Vec<RunMount>, Problem> {
        mounts.iter().map(|mount| self.mount(mount, position)).collect()
    }

    fn mount(&self, written: &MountFlag, position: &Position) -> Result<RunMount, Problem> {
        let lookup = |name: &str| self.lookup(name);
        let expander = Expander::new(self.scope.escape, &lookup);
        let mut value = |text: &str| expand(text, &expander).map(Some).map_err(|error| error.0);
        let mount = MountOptions::parse(&written.written, &mut value).map_err(|message| {
            position.problem(format!("--mount={}: {message}", written.written))
        })?;
        let from = written.from.as_deref();
        let origin = from.map(|from| self.scope.origin(from, self.number, position)).transpose()?;
        let target = mount.target.clone();
        let id = mount.id.clone().filter(|id| !id.is_empty());
        let needed = || {
            // Without one, it is over the working directory.
            let target = self.place_in_image(&target.clone().unwrap_or_default());
            if target == "/" {
                let hint = "give it a target, or choose a WORKDIR before it";
                return Err(position.problem("a --mount can't be in the place of /").hint(hint));
            }
            Ok(target)
        };
        let owner = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
        let source = paths::below(mount.source.as_deref().unwrap_or_default());
        Ok(match written.kind {
            MountKind::Bind => RunMount::Bind {
                from: origin.unwrap_or(CopyOrigin::Context),
                source,
                target: needed()?,
                writable: !mount.read_only.unwrap_or(true),
            },
            MountKind::Cache => {
                let target = needed()?;
                let part = (origin.is_none() && !source.is_empty()).then(|| source.clone());
                // The folder in a cache is looked up while the cache is locked.
                let sharing = match mount.sharing {
                    Some(Sharing::Private) => Sharing::Private,
                    _ if part.is_some() => Sharing::Locked,
                    sharing => sharing.unwrap_or(Sharing::Shared),
                };
                RunMount::Cache {
                    id: id.unwrap_or_else(|| target.clone()),
                    target,
                    sharing,
                    from: origin.map(|origin| (origin, source)),
                    source: part,
                    read_only: mount.read_only.unwrap_or(false),
                    mode: mount.mode.unwrap_or(CACHE_MODE),
                    owner,
                }
            }
            MountKind::Tmpfs => RunMount::Tmpfs { target: needed()?, size: mount.size },
            MountKind::Secret => self.secret(mount, position)?,
            MountKind::Ssh => RunMount::Ssh {
                id: id.unwrap_or_else(|| DEFAULT_ID.to_owned()),
                target: target.map(|target| self.place_in_image(&target)),
                required: mount.required,
                mode: mount.mode.unwrap_or(0o600),
                owner,
            },
        })
    }

    /// Evaluates a mount of a secret. Without an id, the id is the file's name; without a target
    /// and a variable, the file is named by the id.
    fn secret(&self, mount: MountOptions, position: &Position) -> Result<RunMount, Problem> {
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let named = mount.id.filter(|id| !id.is_empty());
        let id = named.or_else(|| mount.target.as_deref().map(last));
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            return Err(position.problem("a --mount of a secret has neither id nor target"));
        };
        let target = match mount.target {
            Some(target) => Some(self.place_in_image(&target)),
            None if mount.variable.is_some() => None,
            None => Some(format!("{SECRETS}/{}", last(&id))),
        };
        Ok(RunMount::Secret {
            id,
            target,
            variable: mount.variable,
            required: mount.required,
            mode: mount.mode.unwrap_or(SECRET_MODE),
            owner: (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0)),
        })
    }
}
