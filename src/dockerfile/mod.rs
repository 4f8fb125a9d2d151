//! A Dockerfile into an image.
//!
//! ```text
//! text ─ syntax ─► Dockerfile ─ graph ─► the stages that are needed, in order
//!                                              │ each: evaluate, instruction by instruction
//!                     context, ignore ─► Steps and a configuration ─ carried out ─► layers ─► image
//! ```
//!
//! All up to the Steps is pure, [`context`] excepted, which looks at the files that COPY means.
//!
//! ```text
//! let dockerfile = Dockerfile::parse(text)?;
//! let scope = Scope::of(&dockerfile, &surroundings)?;
//! let plan = graph::plan(&dockerfile, &scope, &Triggers::default())?;
//! for planned in &plan.stages {
//!     let mut state = StageState::new(&scope, planned, base);
//!     for statement in state.statements(&dockerfile, planned)? {
//!         let applied = state.apply(&statement)?;
//!         // … carry out applied.step, which may make a layer …
//!         state.record(&applied, layer);
//!     }
//!     state.finish()
//! }
//! ```

pub mod builder;
pub mod cache;
pub mod chmod;
pub mod context;
pub mod contexts;
pub mod evaluate;
pub mod execute;
pub mod expand;
pub mod git;
mod glob;
pub mod graph;
pub mod ignore;
pub mod model;
pub mod options;
pub mod scope;
pub mod step;
pub mod syntax;

pub use evaluate::{Applied, ConfigDocument, StageState};
pub use model::Dockerfile;
pub use options::ImageBuildOptions;
pub use scope::Scope;
