//! `mkpanda key`: keys for signing artifacts.

use std::path::Path;

use serde_json::json;

use super::super::args::{FormatArg, KeyCommand};
use super::super::error::CliError;
use super::super::signing::{self, SigningError};
use super::super::ui::Weight;
use super::super::user_paths::user_file;
use super::Context;
use crate::store::signature::{SecretKeyFile, Signer, TrustedKey, public_path};

/// Runs a subcommand.
pub fn run(context: &Context<'_>, command: &KeyCommand) -> Result<(), CliError> {
    match command {
        KeyCommand::New { file, no_password, format } => {
            new(context, file.as_deref(), *no_password, *format)
        }
        KeyCommand::Show { file, format } => show(context, &context.folder()?.join(file), *format),
    }
}

/// Makes a key, and shows its public key.
fn new(
    context: &Context<'_>,
    file: Option<&Path>,
    no_password: bool,
    format: FormatArg,
) -> Result<(), CliError> {
    let path = match file {
        Some(file) => context.folder()?.join(file),
        None => signing::default_place(user_file(context.environment)?)?,
    };
    let public = public_path(&path);
    // Before a password is asked for.
    Signer::refuse_to_replace(&path).map_err(SigningError::Secret)?;
    let password =
        if no_password { None } else { Some(signing::new_password(context.environment)?) };
    let signer = Signer::create(&path, password.as_deref()).map_err(SigningError::Secret)?;
    match format {
        FormatArg::Json => {
            let shown = json!({
                "id": signer.key().id(),
                "public_key": signer.key().line(),
                "public_file": public,
                "secret_file": path,
                "encrypted": password.is_some(),
            });
            context.printer.data(&format!("{shown:#}\n"));
        }
        FormatArg::Text => {
            print_key(context, signer.key());
            let message = format!(
                "the secret key is {}; those who check its signatures need {}",
                path.display(),
                public.display()
            );
            context.printer.line(Weight::Progress, &message);
        }
    }
    Ok(())
}

/// Shows the public key of a file with a public or a secret key. That of an encrypted key is read from
/// the file beside it, if there is one.
fn show(context: &Context<'_>, path: &Path, format: FormatArg) -> Result<(), CliError> {
    let secret = SecretKeyFile::open(path).ok();
    let is_encrypted = secret.as_ref().map(SecretKeyFile::is_encrypted);
    let beside = public_path(path);
    let (key, source) = match is_encrypted {
        None => (public(path)?, path),
        // Spares the password: a secret key of minisign has its public key in the encrypted part.
        Some(true) if beside.exists() => (public(&beside)?, beside.as_path()),
        Some(_) => (signing::signer(path, context.environment)?.key().clone(), path),
    };
    match format {
        FormatArg::Json => {
            let shown = json!({
                "id": key.id(),
                "public_key": key.line(),
                "read_from": source,
                "secret": secret.is_some(),
                "encrypted": is_encrypted.unwrap_or(false),
            });
            context.printer.data(&format!("{shown:#}\n"));
        }
        FormatArg::Text => {
            print_key(context, &key);
            if source != path {
                let message =
                    format!("{} is encrypted: this is {}", path.display(), source.display());
                context.printer.line(Weight::Progress, &message);
            }
        }
    }
    Ok(())
}

fn public(path: &Path) -> Result<TrustedKey, SigningError> {
    Ok(TrustedKey::named(&path.to_string_lossy(), Path::new(""))?)
}

/// The id and the public key, on a line.
fn print_key(context: &Context<'_>, key: &TrustedKey) {
    context.printer.data(&format!("{} {}\n", key.id(), key.line()));
}
