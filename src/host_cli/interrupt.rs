//! Signals that end a run. A first one has it end where it can without leaving anything half-done;
//! a second SIGINT ends it at once, which the next run makes good, as it does after a power cut.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// From now on a signal raises the flag. Those that are ignored, as `nohup` has it, stay so.
pub(super) fn catch(interrupted: &Arc<AtomicBool>) -> io::Result<()> {
    let ignored = ignored();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if ignored & (1 << (signal - 1)) != 0 {
            continue;
        }
        // The others come more than once without that being meant: `timeout` sends each to the process
        // and to its group.
        if signal == SIGINT {
            flag::register_conditional_default(signal, Arc::clone(interrupted))?;
        }
        flag::register(signal, Arc::clone(interrupted))?;
    }
    Ok(())
}

/// The signals that are ignored, a bit each; none if that can't be told.
fn ignored() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
