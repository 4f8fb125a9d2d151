//! Getting sources: fetch, check, check out.
