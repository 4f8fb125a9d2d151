//! Build context and Dockerfile of `mkpanda image build`.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::super::args::ImageBuildArgs;
use super::super::error::CliError;
use super::Context;
use crate::base::confinement::real_path;
use crate::base::event::Observer;
use crate::base::http::redact;
use crate::dockerfile::builder::ImageBuilder;
use crate::dockerfile::contexts::{
    BringError, Brought, BroughtContext, ContextSource, WatchedStream, read_dockerfile,
};
use crate::dockerfile::options::{ContextLocation, DockerfileLocation, NamedContext};
use crate::source::GitSelection;

/// Build context with its Dockerfile.
pub(super) struct ContextInputs {
    pub(super) context: ContextLocation,
    pub(super) dockerfile: Option<DockerfileLocation>,
    /// Name for logs of an image without a name.
    pub(super) name: PathBuf,
    /// Goes when the build is over.
    pub(super) brought: Option<BroughtContext>,
}

/// Interpretation of the argument.
enum ArgumentMeaning {
    Folder(PathBuf),
    Elsewhere(ContextSource),
}

/// Finds a context, and fetches a remote one.
pub(super) fn context_inputs(
    context: &Context<'_>,
    args: &ImageBuildArgs,
    builder: &ImageBuilder<'_>,
    observer: &dyn Observer,
) -> Result<ContextInputs, CliError> {
    let base = context.folder()?;
    let is_stdin = |path: &Path| path.as_os_str() == "-";
    let reads_file = args.file.as_deref().is_some_and(is_stdin);
    if reads_file && is_stdin(&args.context) {
        return Err(bad("--file", "-", "stdin can't be the context, too"));
    }
    let given = match &args.file {
        None => None,
        Some(_) if reads_file => {
            let stdin = WatchedStream::new(stdin()?, &builder.runner.interrupt);
            let text = read_dockerfile(stdin, "stdin").map_err(bringing)?;
            Some(DockerfileLocation::Text(text))
        }
        Some(path) => Some(DockerfileLocation::File(path.clone())),
    };
    let source = match meaning(&base, &args.context)? {
        ArgumentMeaning::Folder(folder) => {
            let dockerfile = given.map(|given| match given {
                DockerfileLocation::File(path) => DockerfileLocation::File(base.join(path)),
                text @ DockerfileLocation::Text(_) => text,
            });
            let name = folder.clone();
            let context = ContextLocation::Folder(folder);
            return Ok(ContextInputs { context, dockerfile, name, brought: None });
        }
        ArgumentMeaning::Elsewhere(ContextSource::Git(place)) => ContextSource::Git(GitSelection {
            keep_git: place.keep_git || keeps_git(args),
            ..place
        }),
        ArgumentMeaning::Elsewhere(source) => source,
    };
    let name = name(&args.context);
    match builder.bring(source, observer).map_err(bringing)? {
        Brought::Context(brought) => {
            let context = ContextLocation::Brought(brought.folder().to_owned());
            Ok(ContextInputs { context, dockerfile: given, name, brought: Some(brought) })
        }
        Brought::Dockerfile(_) if given.is_some() => {
            let text = args.context.display().to_string();
            let problem = "it is a Dockerfile alone, so that --file makes no sense";
            Err(bad("CONTEXT", &redact(&text), problem))
        }
        Brought::Dockerfile(text) => Ok(ContextInputs {
            context: ContextLocation::Empty,
            dockerfile: Some(DockerfileLocation::Text(text)),
            name,
            brought: None,
        }),
    }
}

/// True if a build argument of Docker's says that `.git` is wanted.
fn keeps_git(args: &ImageBuildArgs) -> bool {
    let wanted = ["1", "true"].map(|value| format!("BUILDKIT_CONTEXT_KEEP_GIT_DIR={value}"));
    args.build_arg.iter().any(|given| wanted.contains(given))
}

/// Returns the named contexts; remote ones are fetched into temporary folders, which are returned,
/// too.
pub(super) fn named(
    context: &Context<'_>,
    pairs: Vec<(String, String)>,
    builder: &ImageBuilder<'_>,
    observer: &dyn Observer,
) -> Result<(BTreeMap<String, NamedContext>, Vec<BroughtContext>), CliError> {
    let base = context.folder()?;
    let (mut contexts, mut kept) = (BTreeMap::new(), Vec::new());
    for (name, place) in pairs {
        let found = if let Some(image) = place.strip_prefix("docker-image://") {
            NamedContext::Image(image.to_owned())
        } else {
            match meaning(&base, Path::new(&place))? {
                ArgumentMeaning::Folder(folder) => NamedContext::Folder(folder),
                ArgumentMeaning::Elsewhere(ContextSource::Stream(_)) => {
                    return Err(bad("--build-context", &name, "stdin can't be one"));
                }
                ArgumentMeaning::Elsewhere(source) => {
                    let Brought::Context(brought) =
                        builder.bring(source, observer).map_err(bringing)?
                    else {
                        let problem = "the file is not an archive";
                        return Err(bad("--build-context", &redact(&place), problem));
                    };
                    let folder = brought.folder().to_owned();
                    kept.push(brought);
                    NamedContext::Brought(folder)
                }
            }
        };
        contexts.insert(name, found);
    }
    Ok((contexts, kept))
}

fn bringing(error: BringError) -> CliError {
    CliError::BuildContext(Box::new(error))
}

fn stdin() -> Result<File, CliError> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let read = |source| BringError::Read { what: "stdin".to_owned(), source };
    stdin.map(File::from).map_err(|source| bringing(read(source)))
}

fn meaning(base: &Path, given: &Path) -> Result<ArgumentMeaning, CliError> {
    if given.as_os_str() == "-" {
        return Ok(ArgumentMeaning::Elsewhere(ContextSource::Stream(stdin()?)));
    }
    let path = base.join(given);
    let found = fs_err::metadata(&path);
    // What is on this machine counts first, so that a folder `github.com` can be built.
    if found.as_ref().is_ok_and(std::fs::Metadata::is_file) {
        return Ok(ArgumentMeaning::Elsewhere(ContextSource::File(path)));
    }
    if let (Err(_), Some(text)) = (&found, given.to_str())
        && let Some(source) = on_network(text)?
    {
        return Ok(ArgumentMeaning::Elsewhere(source));
    }
    let folder = real_path(&path).map_err(|source| CliError::Folder { path, source })?;
    Ok(ArgumentMeaning::Folder(folder))
}

fn on_network(text: &str) -> Result<Option<ContextSource>, CliError> {
    // As Docker has it.
    let github = text.starts_with("github.com/").then(|| {
        let end = text.find(['#', '?']).unwrap_or(text.len());
        let path = text[..end].trim_end_matches('/').trim_end_matches(".git");
        format!("https://{path}.git{}", &text[end..])
    });
    let text = github.as_deref().unwrap_or(text);
    match GitSelection::parse(text) {
        Some(Ok(place)) => return Ok(Some(ContextSource::Git(place))),
        Some(Err(error)) => return Err(bad("CONTEXT", &redact(text), &error.to_string())),
        None => {}
    }
    let is_web = text.starts_with("http://") || text.starts_with("https://");
    Ok(is_web.then(|| ContextSource::Url(text.to_owned())))
}

fn name(given: &Path) -> PathBuf {
    if given.as_os_str() == "-" {
        return "stdin".into();
    }
    let text = given.to_string_lossy();
    let path = text.split(['#', '?']).next().unwrap_or_default();
    path.into()
}

/// The error for an option of `image build` that makes no sense.
pub(super) fn bad(option: &'static str, text: &str, problem: &str) -> CliError {
    CliError::ImageOption { option, text: text.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_on_a_network_are_told_from_paths() {
        let git = |text: &str| match on_network(text) {
            Ok(Some(ContextSource::Git(place))) => Some((place.url, place.reference)),
            _ => None,
        };
        let url = || "https://github.com/a/b.git".to_owned();
        assert_eq!(git("github.com/a/b"), Some((url(), None)));
        assert_eq!(git("github.com/a/b.git#v1:x"), Some((url(), Some("v1".to_owned()))));
        assert_eq!(git("git@h:a/b"), Some(("git@h:a/b".to_owned(), None)));
        assert!(matches!(on_network("http://h/x.tar"), Ok(Some(ContextSource::Url(_)))));
        assert!(matches!(on_network("a/b.git"), Ok(None)));
        assert!(on_network("https://h/a.git?x=1").is_err());
    }
}
