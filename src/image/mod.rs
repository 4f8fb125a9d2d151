//! Builder images: references, the store, layouts and archives, layers.
