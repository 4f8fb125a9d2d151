//! Selection of an input's images.

use super::{ImageSelection, LoadProblem};
use crate::image::reference::ImageRef;

/// Item of an input, with the names that the input gives to the item.
pub(super) trait NamedItem {
    /// Returns the names.
    fn given_names(&self) -> Vec<String>;
}

/// Keeps the items that match the selection. [`ImageSelection::OneFor`] keeps all items if none
/// matches: the only image of an input may have any name.
pub(super) fn by_name<T: NamedItem>(
    items: Vec<T>,
    selection: &ImageSelection,
) -> Result<Vec<T>, LoadProblem> {
    let same = |item: &T, name: &ImageRef| {
        item.given_names().iter().any(|called| called.parse().as_ref() == Ok(name))
    };
    match selection {
        ImageSelection::OneFor(name) if items.iter().any(|item| same(item, name)) => {
            Ok(items.into_iter().filter(|item| same(item, name)).collect())
        }
        ImageSelection::All | ImageSelection::OneFor(_) => Ok(items),
        ImageSelection::Named(wanted) => {
            let name: Option<ImageRef> = wanted.parse().ok();
            let (meant, others): (Vec<T>, Vec<T>) = items.into_iter().partition(|item| {
                item.given_names().contains(wanted)
                    || name.as_ref().is_some_and(|name| same(item, name))
            });
            if meant.is_empty() {
                let (wanted, called) = (wanted.clone(), all_called(&others));
                return Err(LoadProblem::NotCalled { wanted, called });
            }
            Ok(meant)
        }
    }
}

/// Fails if no item is left, or several for a selection of one image.
pub(super) fn check_count<T: NamedItem>(
    items: &[T],
    selection: &ImageSelection,
) -> Result<(), LoadProblem> {
    match items {
        [] => Err(LoadProblem::Empty),
        [_, _, ..] if *selection != ImageSelection::All => {
            Err(LoadProblem::Several { called: all_called(items) })
        }
        _ => Ok(()),
    }
}

fn all_called<T: NamedItem>(items: &[T]) -> Vec<String> {
    let mut called: Vec<String> = items.iter().flat_map(NamedItem::given_names).collect();
    called.sort();
    called.dedup();
    called
}
