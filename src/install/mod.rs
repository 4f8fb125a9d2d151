//! An install root: symlink farm, environment files.
