//! Conformance of all backends, and the tests of each.

#[cfg(feature = "builder")]
pub(crate) mod cloud;
#[cfg(feature = "builder")]
mod cloud_copies;
#[cfg(feature = "builder")]
mod cloud_faults;
mod conformance;
mod folder;
mod http;
#[cfg(feature = "builder")]
pub(crate) mod oci;
#[cfg(feature = "builder")]
mod oci_faults;
mod reach;
#[cfg(feature = "builder")]
mod servers;
#[cfg(feature = "builder")]
mod speed;
mod tar;

use super::*;
use crate::base::event::{Event, Observer, Silent};
use crate::base::events::{Events, impatient_client};

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

/// A transfer that nobody watches.
fn quiet() -> StoreTransfer<'static> {
    StoreTransfer { subject: "s", observer: &Silent }
}

/// An observer that interrupts at once.
struct Interrupted;

impl Observer for Interrupted {
    fn event(&self, _: Event) {}

    fn is_interrupted(&self) -> bool {
        true
    }
}
