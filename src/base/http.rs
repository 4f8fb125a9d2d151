//! Fetching files over HTTP, with retries and resumption.
