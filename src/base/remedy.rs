//! Remedies that are given in several places.

/// Tells how to raise a limit: its key in `[limits]`, and the end of its variable's name. A tree's
/// `mkpanda.toml` may only lower the user's limits, so the tree is not mentioned.
macro_rules! raise_limit {
    ($key:literal, $variable:literal) => {
        concat!(
            "raise limits.",
            $key,
            " in your own config.toml, or MKPANDA_LIMITS_",
            $variable,
            ", which counts before a tree's mkpanda.toml"
        )
    };
}
pub(crate) use raise_limit;
