//! What entries have beside their content.

/// What an entry has beside its path and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Permissions with setuid, setgid and sticky bits.
    pub mode: u32,
    /// When it was last changed, in seconds since 1970; later than the writer's time becomes that.
    pub mtime: i64,
    /// The value of `security.capability`, of files only.
    pub capability: Option<Vec<u8>>,
}

impl Attributes {
    /// A mode alone; the time becomes the latest that the writer lets through.
    pub fn new(mode: u32) -> Self {
        Self { mode, mtime: i64::MAX, capability: None }
    }
}
