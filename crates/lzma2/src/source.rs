//! An operation of the encoder, and the source of its bytes.

use crate::narrow;

/// Source of an operation's bytes, in four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source(u32);

impl Source {
    /// A byte of its own.
    pub(crate) const LITERAL: Self = Self(u32::MAX);

    /// One of the last four distances.
    #[inline]
    pub(crate) const fn repetition(number: usize) -> Self {
        Self(narrow(number))
    }

    /// A distance, less one.
    #[inline]
    pub(crate) const fn distance(distance: u32) -> Self {
        Self(distance + 4)
    }

    #[inline]
    pub(crate) fn kind(self) -> SourceKind {
        match self.0 {
            u32::MAX => SourceKind::Literal,
            number @ 0..4 => SourceKind::Repetition(number as usize),
            _ => SourceKind::Distance(self.0 - 4),
        }
    }
}

/// Meaning of a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceKind {
    Literal,
    Repetition(usize),
    Distance(u32),
}

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) source: Source,
    length: u32,
}

impl Operation {
    pub(crate) const LITERAL: Self = Self { source: Source::LITERAL, length: 1 };

    pub(crate) const fn new(source: Source, length: usize) -> Self {
        Self { source, length: narrow(length) }
    }

    /// Number of bytes.
    pub(crate) const fn length(self) -> usize {
        self.length as usize
    }
}
