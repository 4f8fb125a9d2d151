//! `mkpanda login` and `logout`: credentials of registries.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use super::super::error::CliError;
use super::super::signing;
use super::super::tool_args::{LoginArgs, LogoutArgs};
use super::super::tool_error::ToolError;
use super::super::ui::Weight;
use super::Context;
use crate::base::event::Interruptible;
use crate::base::hidden_input::whole_text;
use crate::base::secret::Secret;
use crate::container::helper::Interrupt;
use crate::store::registry::RegistryHost;
use crate::store::registry::login::{self, RegistryLogin};

/// Longest password in bytes.
const LONGEST: u64 = 64 << 10;

/// Registry that docker and podman mean without a name.
const HUB: &str = "docker.io";

/// Tries credentials at a registry, and keeps them.
pub fn login(context: &Context<'_>, args: &LoginArgs) -> Result<(), CliError> {
    let host = host(args.registry.as_deref())?;
    let settings = context.settings(None, Some(&context.tree_folder()?))?;
    let progress = context.progress(&settings);
    let login = ask(args, &host)?;
    let interrupt = std::sync::Arc::<Interrupt>::default();
    super::interrupt_on_signals(&interrupt)?;
    let observer = Interruptible::new(&progress, || interrupt.is_raised());
    login::check(&settings.registry, &host, &login, &observer).map_err(|source| {
        ToolError::Refused { host: host.to_string(), source: Box::new(source) }
    })?;
    let path =
        login::keep(&settings.registry.credentials, &host, &login).map_err(ToolError::Login)?;
    let message = format!("{host} takes these credentials; they are kept in {}", path.display());
    context.printer.line(Weight::Progress, &message);
    Ok(())
}

/// Removes the credentials of a registry.
pub fn logout(context: &Context<'_>, args: &LogoutArgs) -> Result<(), CliError> {
    let host = host(args.registry.as_deref())?;
    let settings = context.settings(None, Some(&context.tree_folder()?))?;
    let changed = login::forget(&settings.registry.credentials, &host).map_err(ToolError::Login)?;
    if changed.is_empty() {
        return Err(ToolError::NotLoggedIn(host.to_string()).into());
    }
    for path in changed {
        let message = format!("the credentials of {host} are removed from {}", path.display());
        context.printer.line(Weight::Progress, &message);
    }
    Ok(())
}

/// The registry, which may be typed as a URL.
fn host(typed: Option<&str>) -> Result<RegistryHost, CliError> {
    let text = typed.unwrap_or(HUB);
    let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    // As docker does: people copy the address of a browser.
    let bare = bare.map_or(text, |bare| bare.split('/').next().unwrap_or_default());
    Ok(bare.parse().map_err(ToolError::Registry)?)
}

/// Name and password, from options, stdin or the terminal.
fn ask(args: &LoginArgs, host: &RegistryHost) -> Result<RegistryLogin, CliError> {
    let is_terminal = std::io::stdin().is_terminal();
    let user = match &args.username {
        Some(user) => user.clone(),
        None if args.password_stdin || !is_terminal => return Err(ToolError::NoUser.into()),
        None => typed_name(host)?,
    };
    let password = if args.password_stdin {
        let text = whole_text(std::io::stdin().lock(), LONGEST).map_err(ToolError::Password)?;
        text.trim_end_matches(['\n', '\r']).to_owned()
    } else {
        let prompt = format!("Password of {user} at {host}: ");
        signing::ask(&prompt)?.ok_or(ToolError::NoPassword)?
    };
    // The file keeps `user:password` in one text, as does basic authentication (RFC 7617, 2).
    if user.is_empty() || user.contains(':') {
        return Err(ToolError::BadUser(user).into());
    }
    if password.is_empty() {
        return Err(ToolError::NoPassword.into());
    }
    Ok(RegistryLogin { user, password: Secret::new(password) })
}

fn typed_name(host: &RegistryHost) -> Result<String, CliError> {
    let mut line = String::new();
    let mut ask = || {
        write!(std::io::stderr(), "User's name at {host}: ")?;
        std::io::stdin().lock().read_line(&mut line)
    };
    ask().map_err(ToolError::Password)?;
    Ok(line.trim().to_owned())
}
