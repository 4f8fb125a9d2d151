//! Attributes of entries beside their content.

/// Attributes of an entry beside its path and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Permissions with setuid, setgid and sticky bits.
    pub mode: u32,
    /// Modification time in seconds since 1970; the writer's time is the upper limit.
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
