//! Signals that end a run. The first one ends the run at the next consistent state; a second SIGINT
//! ends the run at once, and the next run repairs the state, as after a power cut.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Makes signals raise the flag from now on. Ignored signals, as under `nohup`, stay ignored.
pub(super) fn catch(interrupted: &Arc<AtomicBool>) -> io::Result<()> {
    let ignored = ignored();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if ignored & (1 << (signal - 1)) != 0 {
            continue;
        }
        // The others come more than once without that being meant: `timeout` sends each to the process
        // and to its group.
        if signal == SIGINT {
            // Before the flag's own action: in the other order, the first signal would end the run
            // already.
            flag::register_conditional_default(signal, Arc::clone(interrupted))?;
        }
        flag::register(signal, Arc::clone(interrupted))?;
    }
    Ok(())
}

/// Bit mask of the ignored signals; 0 if unknown.
fn ignored() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
