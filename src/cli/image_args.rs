//! Arguments of `mkpanda image`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::candidates;
use super::format_arg::FormatArg;
use super::tool_args::{LoginArgs, LogoutArgs};
use crate::image::platform::Platform;

/// The commands for images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Pull an image from a registry, and unpack it.
    Pull {
        /// Its reference, or skopeo's spelling of another place: docker://, oci:, oci-archive:, docker-archive:.
        #[arg(value_name = "REFERENCE", add = candidates::images())]
        image: String,
        /// The platform of the image, such as linux/arm64; this machine's by default.
        #[arg(long, value_name = "OS/ARCH")]
        platform: Option<Platform>,
    },
    /// Push an image to a registry.
    Push {
        /// The image: its reference, or the beginning of its id.
        #[arg(add = candidates::images())]
        image: String,
        /// Destination: another reference, or skopeo's spelling of another location; the image's
        /// own name by default.
        destination: Option<String>,
    },
    /// Save an image to a file or a folder.
    Save {
        /// The image: its reference, or the beginning of its id.
        #[arg(add = candidates::images())]
        image: String,
        /// Destination: a FILE (a docker archive), `-` for stdout, or `oci:DIR[:REF]`,
        /// `oci-archive:FILE[:REF]`, `docker-archive:FILE[:REF]`.
        #[arg(short, long, value_name = "PLACE")]
        output: String,
    },
    /// Load images: an OCI layout, an OCI archive or a docker archive; `-` is stdin.
    Load {
        /// The folder or file; oci:, oci-archive: or docker-archive: before the path names its
        /// format.
        input: PathBuf,
        /// Call the image this, if the input names none or another.
        #[arg(long, value_name = "REFERENCE")]
        name: Option<String>,
    },
    /// Build an image from a Dockerfile.
    Build(Box<ImageBuildArgs>),
    /// List the images in the store.
    #[command(visible_alias = "ls")]
    List {
        /// Form of the list.
        #[arg(long, value_name = "HOW", default_value = "text")]
        format: FormatArg,
    },
    /// Sign in to a registry.
    Login(LoginArgs),
    /// Sign out of a registry.
    Logout(LogoutArgs),
    /// Show what an image is, as JSON.
    Inspect {
        /// Its reference, or the beginning of its id.
        #[arg(add = candidates::images())]
        image: String,
    },
    /// Remove images without a name that nothing needs, and what only they need.
    Prune {
        /// Show what would go, and remove nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove images, and what only they need.
    Rm {
        /// Their references, or the beginnings of their ids.
        #[arg(required = true, add = candidates::images())]
        images: Vec<String>,
    },
    /// Give an image further names.
    Tag {
        /// The image: its reference, or the beginning of its id.
        #[arg(add = candidates::images())]
        image: String,
        /// The names.
        #[arg(value_name = "REFERENCE", required = true)]
        names: Vec<String>,
    },
}

/// Options of building an image.
#[derive(Debug, Args)]
pub struct ImageBuildArgs {
    /// Files for COPY and ADD: a folder; a tar archive, plain or compressed by gzip, bzip2, xz or
    /// zstd; the http or https URL of an archive, or of a Dockerfile alone; a git repository,
    /// `https://HOST/PATH.git#REFERENCE:FOLDER`; `-` is an archive or a Dockerfile alone on stdin.
    #[arg(value_name = "CONTEXT", default_value = ".")]
    pub context: PathBuf,
    /// The Dockerfile; `Dockerfile` in the context by default; `-` is stdin. Where the context is no folder, a
    /// path in it.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Name of the image; may be given several times.
    #[arg(short, long, value_name = "REFERENCE")]
    pub tag: Vec<String>,
    /// Set an ARG; without a value it is taken from the environment.
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub build_arg: Vec<String>,
    /// Build this stage; the last one by default.
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// Target platform: `linux/arm64`; this machine by default.
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<String>,
    /// Carry out every instruction, without the build cache.
    #[arg(long)]
    pub no_cache: bool,
    /// A secret for `RUN --mount=type=secret`: `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`.
    #[arg(long, value_name = "SECRET")]
    pub secret: Vec<String>,
    /// An ssh agent's socket for `RUN --mount=type=ssh`: `default` is that of `SSH_AUTH_SOCK`.
    #[arg(long, value_name = "NAME[=SOCKET]")]
    pub ssh: Vec<String>,
    /// A further context: a folder, anything else that a context can be but stdin, or `docker-image://NAME`.
    #[arg(long, value_name = "NAME=PLACE")]
    pub build_context: Vec<String>,
    /// A label of the image.
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// Ask the registry for each base image, although one of that name is here.
    #[arg(long)]
    pub pull: bool,
    /// Push the image to the registry under each of its names.
    #[arg(long)]
    pub push: bool,
    /// Write the image's id to this file.
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
    /// Save the image, too: a place as `image save` has it, or `docker://REFERENCE` to push it.
    #[arg(short, long, value_name = "PLACE")]
    pub output: Option<String>,
}
