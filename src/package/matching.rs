//! Ids by what people type: an id, a package's name, or the beginning of an id.

use super::{PackageId, PackageName};

/// Finds the ids that a text means: the id itself; else all of the package with that name; else all that begin with
/// the text.
pub fn matching<'i>(
    text: &str,
    ids: impl IntoIterator<Item = &'i PackageId, IntoIter: Clone>,
) -> Vec<&'i PackageId> {
    let ids = ids.into_iter();
    if let Ok(id) = text.parse::<PackageId>()
        && let Some(found) = ids.clone().find(|known| **known == id)
    {
        return vec![found];
    }
    if let Ok(name) = text.parse::<PackageName>() {
        let of_name: Vec<_> = ids.clone().filter(|id| *id.name() == name).collect();
        if !of_name.is_empty() {
            return of_name;
        }
    }
    // Every id begins with it.
    if text.is_empty() {
        return Vec::new();
    }
    ids.filter(|id| id.to_string().starts_with(text)).collect()
}

/// Finds the ids of one package whose text, or whose version, begins with a text.
pub fn matching_version<'i>(
    text: &str,
    ids: impl IntoIterator<Item = &'i PackageId>,
) -> Vec<&'i PackageId> {
    let ids: Vec<_> = ids.into_iter().collect();
    let is_whole = |id: &&&PackageId| id.to_string() == text || id.version().as_str() == text;
    // A whole one first: it may be the beginning of another.
    if let Some(found) = ids.iter().find(is_whole) {
        return vec![*found];
    }
    let begins = |id: &&PackageId| {
        id.to_string().starts_with(text) || id.version().as_str().starts_with(text)
    };
    ids.into_iter().filter(begins).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_goes_before_a_name_and_a_name_before_a_beginning() {
        let ids = ["a--1", "a--12", "a--2", "ab--1", "b--1.x"].map(|id| id.parse().unwrap());
        let found = |text: &str| -> Vec<String> {
            matching(text, &ids).iter().map(ToString::to_string).collect()
        };
        assert_eq!(found("a--1"), ["a--1"]);
        assert_eq!(found("a"), ["a--1", "a--12", "a--2"]);
        assert_eq!(found("ab"), ["ab--1"]);
        assert_eq!(found("a-"), ["a--1", "a--12", "a--2"]);
        assert_eq!(found("b--"), ["b--1.x"]);
        assert!(found("c").is_empty() && found("").is_empty());
        let versions = |text: &str| -> Vec<String> {
            matching_version(text, &ids[..3]).iter().map(ToString::to_string).collect()
        };
        assert_eq!(versions("1"), ["a--1"]);
        assert_eq!(versions("a--1"), ["a--1"]);
        assert_eq!(versions("12"), ["a--12"]);
        assert_eq!(versions("").len(), 3);
    }
}
