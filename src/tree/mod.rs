//! A packages directory and its upstreams, read into one checked tree.
