//! A Dockerfile into an image.
//!
//! ```text
//! text ─ syntax ─► Dockerfile ─ evaluate, stage by stage ─► Steps and a configuration ─ carried out ─► layers ─► image
//! ```

pub mod step;
