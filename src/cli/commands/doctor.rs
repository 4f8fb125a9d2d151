//! `mkpanda doctor`: tries all that builds need of the machine.

use std::fmt::Write as _;
use std::path::Path;

use super::super::error::CliError;
use super::super::format_arg::FormatArg;
use super::super::tool_args::DoctorArgs;
use super::super::tool_error::ToolError;
use super::Context;
use crate::runner::trial::system::System;
use crate::runner::trial::{Feature, FeatureReport, TrialResult, try_all};

/// Tries all features and shows the findings.
pub fn run(context: &Context<'_>, args: &DoctorArgs) -> Result<(), CliError> {
    let settings = context.settings(None, Some(&context.tree_folder()?))?;
    let interrupt = std::sync::Arc::default();
    super::interrupt_on_signals(&interrupt)?;
    let runner = super::runner_settings(context, &settings, &interrupt);
    let system = System::read(Path::new("/"), nix::unistd::Uid::current().as_raw());
    let report = try_all(&runner, system);
    let format = if args.json { FormatArg::Json } else { args.format };
    context.printer.data(&match format {
        FormatArg::Text => text(&report),
        FormatArg::Json => {
            format!("{}\n", serde_json::to_string_pretty(&report).unwrap_or_default())
        }
    });
    let lacking: Vec<Feature> =
        args.require.iter().copied().filter(|feature| !report.has(*feature)).collect();
    if !lacking.is_empty() {
        return Err(ToolError::Lacking(lacking).into());
    }
    if report.tier.is_none() {
        return Err(ToolError::NoTier.into());
    }
    Ok(())
}

/// A line for the system, and one for each finding, with remedies below it.
fn text(report: &FeatureReport) -> String {
    let System { name, container, kernel, uid, .. } = &report.system;
    let inside =
        container.map_or_else(String::new, |engine| format!(", in a container ({engine})"));
    let mut text = format!(
        "mkpanda {} on {name}, Linux {kernel}, user id {uid}{inside}\n\n",
        env!("CARGO_PKG_VERSION")
    );
    for finding in &report.features {
        let _ = writeln!(text, "{:7}  {:15}  {}", finding.state, finding.feature, finding.detail);
        let mut word = "mend by:";
        for remedy in &finding.remedies {
            let _ = writeln!(text, "{:9}{word:>15}  {remedy}", "");
            word = "or by:";
        }
    }
    let count = |state| report.features.iter().filter(|finding| finding.state == state).count();
    let builds = match report.tier {
        Some(tier) => format!("builds run in the tier {tier}"),
        None => "no builds can be run".to_owned(),
    };
    let _ = writeln!(
        text,
        "\n{builds}; {} of {} features work, {} are limited, {} missing",
        count(TrialResult::Works),
        report.features.len(),
        count(TrialResult::Limited),
        count(TrialResult::Missing) + count(TrialResult::Untried)
    );
    text
}
