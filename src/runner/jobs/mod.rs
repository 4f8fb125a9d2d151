//! Jobs that belong to no package and no Dockerfile: probing the machine, and work on folders whose
//! files belong to the ids of a namespace.

pub mod folders;
pub mod probe;
pub mod trial;
pub mod unpack;

use super::job::Handler;

/// Handlers for the jobs of this module.
pub const HANDLERS: [Handler; 7] = [
    Handler::of::<probe::ProbeJob>(),
    Handler::of::<folders::RemoveJob>(),
    Handler::of::<folders::MeasureJob>(),
    Handler::of::<folders::CopyJob>(),
    Handler::of::<trial::FilterJob>(),
    Handler::of::<trial::UplinkJob>(),
    Handler::of::<unpack::UnpackJob>(),
];
