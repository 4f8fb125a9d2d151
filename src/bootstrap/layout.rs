//! A package's entries in a bootstrap, by the blocks of its archive: contents stay, and headers get
//! the names below `packages/<id>`. The headers that were there are compared, so that nothing else
//! than a package's content gets into a bootstrap as such.

use std::collections::VecDeque;

use crate::archive::{ARCHIVE_END, EntryKind, EntryPath, HeaderWriter, PackageEntry, Span};

/// Spans of a package's tar, as [`TarWriter`](crate::archive::TarWriter) wrote it, block by block.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    entries: std::slice::Iter<'a, PackageEntry>,
    old: HeaderWriter,
    new: HeaderWriter,
    /// Spans of the current entry.
    pending: VecDeque<Span>,
    is_ended: bool,
}

impl<'a> Layout<'a> {
    /// Starts at the first entry, for a folder of the bootstrap.
    pub(super) fn new(
        entries: &'a [PackageEntry],
        folder: &EntryPath,
        source_date_epoch: u64,
    ) -> Self {
        Self {
            entries: entries.iter(),
            // Times were limited when the package was packed.
            old: HeaderWriter::new(EntryPath::root(), u64::MAX),
            new: HeaderWriter::new(folder.clone(), source_date_epoch),
            pending: VecDeque::new(),
            is_ended: false,
        }
    }

    /// Spans of the next `size` bytes; `None` if the tar does not have as many. A header that two
    /// blocks share belongs to the one in which the header ends.
    pub(super) fn block(&mut self, size: u64) -> Option<Vec<Span>> {
        let mut left = usize::try_from(size).ok()?;
        let mut spans = Vec::new();
        while let Some(span) = self.next_span() {
            if left == 0 && span.taken() > 0 {
                self.pending.push_front(span);
                break;
            }
            let (now, rest) = span.split_at(left);
            if let Some(rest) = rest {
                self.pending.push_front(rest);
            }
            left -= now.taken();
            spans.push(now);
        }
        (left == 0).then_some(spans)
    }

    fn next_span(&mut self) -> Option<Span> {
        while self.pending.is_empty() && !self.is_ended {
            self.fill();
        }
        self.pending.pop_front()
    }

    /// Adds the spans of the next entry, or of the end.
    fn fill(&mut self) {
        let Some(entry) = self.entries.next() else {
            self.is_ended = true;
            self.pending.push_back(Span::Dropped(vec![0; ARCHIVE_END]));
            return;
        };
        self.pending.push_back(Span::Dropped(self.old.header(entry)));
        self.pending.push_back(Span::Inserted(self.new.header(entry)));
        if let EntryKind::File { size } = entry.kind
            && size > 0
        {
            let padded = usize::try_from(entry.padded_size()).unwrap_or(usize::MAX);
            self.pending.push_back(Span::Kept(padded));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Attributes;

    #[test]
    fn blocks_may_end_anywhere() {
        let entry = |path: &str, size| PackageEntry {
            path: EntryPath::parse(path.as_bytes()).unwrap(),
            kind: EntryKind::File { size },
            attributes: Attributes { mode: 0o644, mtime: 0, capability: None },
        };
        let entries = [entry("a", 1000), entry("b", 0), entry(&"c".repeat(90), 1)];
        let folder = EntryPath::parse(b"packages/p--1").unwrap();
        let size = 512 + 1024 + 512 + 512 + 512 + 1024;
        let all = |sizes: &[u64]| {
            let mut layout = Layout::new(&entries, &folder, 0);
            let blocks: Option<Vec<_>> = sizes.iter().map(|size| layout.block(*size)).collect();
            blocks.map(|blocks| (blocks, layout.next_span()))
        };
        let (whole, rest) = all(&[size]).unwrap();
        assert_eq!(rest, None);
        let [mut old, mut new] = [EntryPath::root(), folder.clone()].map(|folder| {
            let mut headers = HeaderWriter::new(folder, 0);
            entries.each_ref().map(|entry| headers.header(entry)).into_iter()
        });
        let mut replaced = || {
            let inserted = Span::Inserted(new.next().unwrap());
            (Span::Dropped(old.next().unwrap()), inserted)
        };
        let [a, b, c] = [replaced(), replaced(), replaced()];
        assert_eq!([c.0.taken(), c.0.added(), c.1.taken(), c.1.added()], [512, 0, 0, 3 * 512]);
        let end = Span::Dropped(vec![0; 1024]);
        let wanted =
            [a.0.clone(), a.1.clone(), Span::Kept(1024), b.0, b.1, c.0, c.1, Span::Kept(512), end];
        assert!(whole == [wanted.to_vec()]);
        let (parts, rest) = all(&[500, 12, 600, size - 1112]).unwrap();
        assert_eq!(rest, None);
        let (first, second) = a.0.split_at(500);
        assert!(parts[..2] == [vec![first], vec![second.unwrap(), a.1]]);
        assert_eq!(parts[2], [Span::Kept(600)]);
        assert_eq!(parts[3][0], Span::Kept(424));
        assert!(parts[3][1..] == wanted[3..]);
        assert_eq!(all(&[size + 1]), None);
        assert!(all(&[size - 1]).unwrap().1.is_some());
    }
}
