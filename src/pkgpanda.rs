//! The `pkgpanda` executable: the command line for packages on a machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(mkpanda::host_cli::run())
}
