//! Suggestions for mistyped names.

/// Returns the known name most similar to a typed one, if at most a third of the letters differ.
pub(crate) fn nearest<'k>(
    typed: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let length = typed.chars().count();
    let most = (length / 3).max(usize::from(length > 1));
    let distances = known.into_iter().map(|name| (strsim::osa_distance(typed, name), name));
    let near = distances.filter(|(distance, _)| *distance <= most && *distance > 0);
    near.min().map(|(_, name)| name)
}

/// Hint for a word that is not among the known ones: the most similar one, and all of them.
pub(crate) fn among<'k>(
    typed: &str,
    plural: &str,
    known: impl IntoIterator<Item = &'k str, IntoIter: Clone>,
) -> String {
    let known = known.into_iter();
    let all: Vec<&str> = known.clone().collect();
    let all = format!("{plural} are {}", all.join(", "));
    match nearest(typed, known) {
        Some(near) => format!("{} The {all}", did_you_mean(near)),
        None => format!("the {all}"),
    }
}

/// Remedy of a mistyped name whose meaning is known.
pub(crate) fn did_you_mean(near: &str) -> String {
    format!("did you mean {near}?")
}

/// Remedy of a mistyped name: the one that is meant, else the way to see all names.
pub(crate) fn meant_or(near: Option<&str>, all: &str) -> String {
    near.map_or_else(|| all.to_owned(), did_you_mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_recognised_and_another_one_is_not() {
        let known = ["service", "server", "a", "mesos-modules", "zlib"];
        for (typed, found) in [
            ("servic", Some("service")),
            ("sevrice", Some("service")),
            ("mesos_module", Some("mesos-modules")),
            ("zlip", Some("zlib")),
            ("b", None),
            ("openssl", None),
            ("zlib", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), found, "{typed:?}");
        }
    }
}
