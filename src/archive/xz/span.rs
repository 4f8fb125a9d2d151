//! Content of a block by that of another one.

/// Content of a new block, by the content of an old one, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// Number of bytes that are taken over.
    Kept(usize),
    /// Number of bytes that are left out, whatever they are.
    Skipped(usize),
    /// Bytes that are left out, and have to be these.
    Dropped(Vec<u8>),
    /// Bytes that are put in.
    Inserted(Vec<u8>),
}

impl Span {
    /// Number of bytes in the new block.
    pub fn added(&self) -> usize {
        match self {
            Self::Kept(count) => *count,
            Self::Skipped(_) | Self::Dropped(_) => 0,
            Self::Inserted(bytes) => bytes.len(),
        }
    }

    /// Number of bytes in the old block.
    pub fn taken(&self) -> usize {
        match self {
            Self::Kept(count) | Self::Skipped(count) => *count,
            Self::Dropped(bytes) => bytes.len(),
            Self::Inserted(_) => 0,
        }
    }

    /// Parts a span that takes more than `count` bytes of the old block.
    pub fn split_at(self, count: usize) -> (Self, Option<Self>) {
        match self {
            Self::Kept(all) if all > count => (Self::Kept(count), Some(Self::Kept(all - count))),
            Self::Skipped(all) if all > count => {
                (Self::Skipped(count), Some(Self::Skipped(all - count)))
            }
            Self::Dropped(mut bytes) if bytes.len() > count => {
                let rest = bytes.split_off(count);
                (Self::Dropped(bytes), Some(Self::Dropped(rest)))
            }
            whole => (whole, None),
        }
    }
}
