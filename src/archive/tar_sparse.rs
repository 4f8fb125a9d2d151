//! Contents of files in a tar stream, and of sparse files in the forms of GNU and POSIX.

use std::io::{self, Read};

use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::error::ReadError;
use super::limits::LimitExceeded;
use super::pax::Sparse;
use super::sparse_map::{MOST_PIECES, MapNumbers};
use super::tar_block::BLOCK;
use super::tar_content::TarContent;
use super::tar_read::TarReader;

impl<R: Read> TarReader<R> {
    pub(super) fn start_content(
        &mut self,
        header: &Header,
        stored: u64,
        sparse: Option<Sparse>,
    ) -> Result<(), ReadError> {
        if stored > i64::MAX.unsigned_abs() {
            return Err(self.damaged("a size that no file can have"));
        }
        let broken = "a sparse file whose pieces don't fit together";
        self.content = if header.entry_type() == EntryType::GNUSparse {
            if sparse.is_some() {
                return Err(self.damaged("a sparse file in two forms"));
            }
            self.sparse_content(header, stored)?.ok_or_else(|| self.damaged(broken))?
        } else if let Some(sparse) = sparse {
            self.posix_sparse_content(sparse, stored)?.ok_or_else(|| self.damaged(broken))?
        } else {
            TarContent::whole(stored)
        };
        self.hole_bytes = self.hole_bytes.saturating_add(self.content.holes());
        if self.hole_bytes > self.limits.max_bytes {
            return Err(ReadError::Limit(LimitExceeded::Bytes(self.limits.max_bytes)));
        }
        Ok(())
    }

    fn sparse_content(
        &mut self,
        header: &Header,
        stored: u64,
    ) -> Result<Option<TarContent>, ReadError> {
        let Some(gnu) = header.as_gnu() else { return Ok(None) };
        let mut pieces = Vec::new();
        let mut add = |block: &GnuSparseHeader| -> Option<()> {
            if !block.is_empty() {
                pieces.push((block.offset().ok()?, block.length().ok()?));
            }
            // Extension blocks are 512 bytes for 21 pieces, and no header says how many follow.
            (pieces.len() <= MOST_PIECES).then_some(())
        };
        let mut fine = gnu.sparse.iter().try_for_each(&mut add);
        let mut more = gnu.is_extended();
        while more && fine.is_some() {
            let mut extension = GnuExtSparseHeader::new();
            if !self.fill(extension.as_mut_bytes())? {
                return Err(ReadError::Stream(io::ErrorKind::UnexpectedEof.into()));
            }
            fine = extension.sparse().iter().try_for_each(&mut add);
            more = extension.is_extended();
        }
        let size = fine.and_then(|()| gnu.real_size().ok());
        Ok(size.and_then(|size| TarContent::sparse(size, stored, pieces)))
    }

    /// Content of a sparse file in one of the POSIX forms. In form 1.0 the map stands before the data, as
    /// decimal numbers with line feeds, and is filled up to a whole block.
    fn posix_sparse_content(
        &mut self,
        sparse: Sparse,
        mut stored: u64,
    ) -> Result<Option<TarContent>, ReadError> {
        let Some(size) = sparse.size else { return Ok(None) };
        if size > i64::MAX.unsigned_abs() {
            return Ok(None);
        }
        if !sparse.is_in_content {
            return Ok(TarContent::sparse(size, stored, sparse.pieces));
        }
        let mut numbers = MapNumbers::default();
        while !numbers.is_complete() {
            let mut block = [0; BLOCK];
            let Some(left) = stored.checked_sub(BLOCK as u64) else { return Ok(None) };
            stored = left;
            if !self.fill(&mut block)? {
                return Err(ReadError::Stream(io::ErrorKind::UnexpectedEof.into()));
            }
            if numbers.add(&block).is_none() {
                return Ok(None);
            }
        }
        Ok(TarContent::sparse(size, stored, numbers.pieces()))
    }
}
