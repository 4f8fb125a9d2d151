//! External inputs of a step: the context, other stages, images, the network; and their digests for
//! the cache key.

use std::path::{Path, PathBuf};

use super::agent::AgentSocket;
use super::choose::{TreeOwners, choice, choose_with_digest};
use super::error::StepError;
use super::job::{CopyInput, MountInput, SecretBytes, StepNetwork};
use super::stage::{Gathered, StageBuilder};
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::container::uplink::Uplink;
use crate::dockerfile::cache;
use crate::dockerfile::context::{ContextError, ContextFiles};
use crate::dockerfile::options::{NamedContext, SecretLocation};
use crate::dockerfile::step::{
    CopyOrigin, CopySource, CopyStep, LayerStep, RunMount, RunNetwork, RunStep,
};
use crate::image::digest::DiffId;
use crate::image::store::BuiltLayer;

pub(super) fn file(what: &'static str) -> impl Fn(std::io::Error) -> StepError {
    move |source| StepError::File { what, source }
}

impl StageBuilder<'_, '_> {
    /// Gathers the inputs of a step. Inputs that only the command needs are fetched when the
    /// command runs.
    pub(super) fn gather(
        &mut self,
        step: &LayerStep,
        observer: &dyn Observer,
    ) -> Result<Gathered, StepError> {
        let mut gathered = Gathered::default();
        match step {
            LayerStep::Folder(_) => {}
            LayerStep::Copy(step) => {
                for source in &step.sources {
                    let (input, digest) = self.source(step, source, observer)?;
                    gathered.inputs.push(input);
                    gathered.contents.extend(digest);
                }
            }
            LayerStep::Run(step) => {
                for mount in &step.mounts {
                    let (RunMount::Bind { from, source, .. }
                    | RunMount::Cache { from: Some((from, source)), .. }) = mount
                    else {
                        continue;
                    };
                    let (_, digest) = self.paths(from, source, &[], false, observer)?;
                    gathered.contents.push(digest);
                }
                gathered.contents.extend(self.cache_digest(step));
            }
        }
        Ok(gathered)
    }

    fn source(
        &mut self,
        step: &CopyStep,
        source: &CopySource,
        observer: &dyn Observer,
    ) -> Result<(CopyInput, Option<Sha256Sum>), StepError> {
        match source {
            // Its text is in the step.
            CopySource::Document(_) => Ok((CopyInput::Document, None)),
            CopySource::Path(pattern) => {
                let (input, digest) =
                    self.paths(&step.from, pattern, &step.exclude, step.parents, observer)?;
                Ok((input, Some(digest)))
            }
            CopySource::Url { url, checksum } => {
                let (input, digest) = self.download(url, checksum.as_deref(), observer)?;
                Ok((input, Some(digest)))
            }
            CopySource::Git(place) => {
                let (input, digest) = self.git(place, observer)?;
                Ok((input, Some(digest)))
            }
        }
    }

    /// A context within the limits of the run.
    fn bounded(
        &self,
        context: Result<ContextFiles, ContextError>,
    ) -> Result<ContextFiles, StepError> {
        let runner = self.build.builder.runner;
        let files = context.map_err(StepError::Files)?;
        Ok(files.within(runner.archives.max_bytes, &runner.interrupt))
    }

    /// Files of the context, a stage or an image.
    fn paths(
        &mut self,
        from: &CopyOrigin,
        pattern: &str,
        exclude: &[String],
        parents: bool,
        observer: &dyn Observer,
    ) -> Result<(CopyInput, Sha256Sum), StepError> {
        let no_context = || StepError::NoContext(pattern.to_owned());
        let files = match from {
            CopyOrigin::Context => self.build.context.clone().ok_or_else(no_context)?,
            CopyOrigin::Named(name) => match self.build.options.contexts.get(name) {
                Some(NamedContext::Folder(folder)) => {
                    self.bounded(ContextFiles::of_context(folder, None))?
                }
                Some(NamedContext::Brought(folder)) => {
                    self.bounded(ContextFiles::of_brought_context(folder, None))?
                }
                Some(NamedContext::Image(image)) => {
                    let image = image.clone();
                    let layers = self.build.image_layers(&image, observer)?;
                    return self.layer_paths(&layers, pattern, exclude, parents, observer);
                }
                None => return Err(no_context()),
            },
            CopyOrigin::Stage(number) => {
                let layers = self.build.stage_layers(*number)?;
                return self.layer_paths(&layers, pattern, exclude, parents, observer);
            }
            CopyOrigin::Image(name) => {
                let layers = self.build.image_layers(name, observer)?;
                return self.layer_paths(&layers, pattern, exclude, parents, observer);
            }
        };
        let key = (pattern.to_owned(), exclude.to_vec(), parents);
        // The same pattern may come in several stages, and reading all files takes long.
        let known = match from {
            CopyOrigin::Context => self.build.shared().chosen.get(&key).cloned(),
            _ => None,
        };
        let (matches, digest) = if let Some(known) = known {
            known
        } else {
            let choice = choice(exclude, parents).map_err(StepError::Files)?;
            let found = choose_with_digest(&files, pattern, &choice, &TreeOwners::None)
                .map_err(StepError::Files)?;
            if *from == CopyOrigin::Context {
                self.build.shared().chosen.insert(key, found.clone());
            }
            found
        };
        let folder = files.root().to_owned();
        Ok((CopyInput::Listed { folder, matches }, digest))
    }

    /// Files of layers: their digest is known, or taken by a helper.
    fn layer_paths(
        &mut self,
        layers: &[BuiltLayer],
        pattern: &str,
        exclude: &[String],
        parents: bool,
        observer: &dyn Observer,
    ) -> Result<(CopyInput, Sha256Sum), StepError> {
        let diff_ids: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let sources = [CopySource::Path(pattern.to_owned())];
        let key = cache::content_key(&diff_ids, &sources, exclude, parents);
        let blobs = self.build.blob_list(layers);
        let digest = if let Some(digest) = self.build.cache.content(&key) {
            digest
        } else {
            let digest = self.digest(blobs.clone(), &sources, exclude, parents, observer)?;
            self.build.cache.put_content(&key, &digest).map_err(file("write the build cache"))?;
            digest
        };
        let (pattern, exclude) = (pattern.to_owned(), exclude.to_vec());
        Ok((CopyInput::Pattern { layers: blobs, pattern, exclude, parents }, digest))
    }

    /// Prepares the mounts of a command.
    pub(super) fn mounts(
        &mut self,
        step: &RunStep,
        observer: &dyn Observer,
    ) -> Result<Vec<MountInput>, StepError> {
        let mut inputs = Vec::new();
        let mut begins = Vec::new();
        for mount in &step.mounts {
            // Also for a cache that has contents already: only the container's root may look into it.
            begins.push(match mount {
                RunMount::Cache { from: Some((from, source)), .. } => {
                    Some(self.paths(from, source, &[], false, observer)?)
                }
                _ => None,
            });
        }
        let contents: Vec<_> =
            begins.iter().map(|begins| begins.as_ref().map(|(_, digest)| digest)).collect();
        let caches = self.cache_folders(&step.mounts, &contents, observer)?;
        for ((mount, cache), begins_as) in step.mounts.iter().zip(caches).zip(begins) {
            inputs.push(match mount {
                RunMount::Bind { from, source, .. } => {
                    MountInput::Tree(self.paths(from, source, &[], false, observer)?.0)
                }
                RunMount::Cache { .. } => MountInput::Cache {
                    folder: cache.ok_or(StepError::Needed)?,
                    begins_as: begins_as.map(|(input, _)| input),
                },
                RunMount::Tmpfs { .. } => MountInput::Tmpfs,
                RunMount::Secret { id, required, .. } => {
                    let secret = self.secret(id)?;
                    if secret.is_none() && *required {
                        return Err(StepError::NoSecret(id.clone()));
                    }
                    MountInput::Secret(secret.map(SecretBytes))
                }
                RunMount::Ssh { id, required, .. } => {
                    let agent = self.build.options.agents.get(id).cloned();
                    if agent.is_none() && *required {
                        return Err(StepError::NoAgent(id.clone()));
                    }
                    let socket = agent.map(|agent| self.agent(id, &agent, observer));
                    MountInput::Socket(socket.transpose()?)
                }
            });
        }
        Ok(inputs)
    }

    /// A socket that leads to an agent while the step is carried out.
    fn agent(
        &mut self,
        id: &str,
        agent: &Path,
        observer: &dyn Observer,
    ) -> Result<PathBuf, StepError> {
        let owner = self.helper(observer)?.0.machine().map.root();
        let folder = self.download_folder()?;
        let socket = AgentSocket::open(agent, &folder, owner).map_err(|source| {
            let (id, path) = (id.to_owned(), agent.to_owned());
            StepError::Agent { id, path, source }
        })?;
        // A command may open the socket itself to others: they must not come here.
        close_to_others(&folder, owner).map_err(file("close the folder of an agent"))?;
        let path = socket.path().to_owned();
        self.agents.push(socket);
        Ok(path)
    }

    fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, StepError> {
        Ok(match self.build.options.secrets.get(id) {
            None => None,
            Some(SecretLocation::File(path)) => {
                Some(fs_err::read(path).map_err(file("read a secret"))?)
            }
            Some(SecretLocation::Value(value)) => Some(value.0.clone().into_bytes()),
        })
    }

    /// The network of a command.
    pub(super) fn network(&self, step: &RunStep) -> Result<StepNetwork, StepError> {
        match step.network.unwrap_or(self.build.options.network) {
            RunNetwork::None => Ok(StepNetwork::None),
            RunNetwork::Host => Ok(StepNetwork::Host),
            RunNetwork::Default => Uplink::find(&self.build.builder.runner.isolation.search_path)
                .map(StepNetwork::Own)
                .ok_or(StepError::NoUplink),
        }
    }

    /// Makes a folder for a download, removed with the build.
    pub(super) fn download_folder(&self) -> Result<PathBuf, StepError> {
        use std::os::unix::fs::PermissionsExt;
        let failed = file("make a folder for a download");
        let home = self.build.inputs().map_err(&failed)?;
        let folder = tempfile::tempdir_in(home).map_err(&failed)?.keep();
        // The container's root comes here too.
        let mode = std::fs::Permissions::from_mode(0o755);
        fs_err::set_permissions(&folder, mode).map_err(failed)?;
        Ok(folder)
    }
}

/// Closes a folder to all but the container's root.
fn close_to_others(folder: &Path, owner: (u32, u32)) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if owner.0 != nix::unistd::Uid::current().as_raw() {
        std::os::unix::fs::chown(folder, Some(owner.0), Some(owner.1))?;
    }
    fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}
