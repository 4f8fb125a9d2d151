//! Ids as people type them: whole, as a package's name, or as the beginning of an id.

use super::error::CommandError;
use crate::base::suggestion::nearest;
use crate::host::PackageRepository;
use crate::package::PackageId;
use crate::package::matching::matching;

/// Number of candidates that an error lists.
const MOST_CANDIDATES: usize = 10;

/// Finds the packages of this machine that texts mean. Where several have a name, one that is among `preferred` counts
/// if no other is. An id that is not here stays as it is: the command says what that means.
pub(super) fn find(
    texts: &[String],
    packages: &PackageRepository<'_>,
    preferred: &[PackageId],
) -> Result<Vec<PackageId>, CommandError> {
    let mut known = None;
    let mut found = Vec::new();
    for text in texts {
        let id = text.parse::<PackageId>();
        if let Ok(id) = &id
            // A whole id needs no listing of the folder.
            && packages.has(id)
        {
            found.push(id.clone());
            continue;
        }
        if known.is_none() {
            known = Some(packages.list()?);
        }
        let all = known.as_deref().unwrap_or_default();
        // Of several versions, the active one is most likely meant.
        let near = match matching(text, preferred).as_slice() {
            [one] => vec![*one],
            _ => matching(text, all),
        };
        found.push(match (near.as_slice(), id) {
            ([one], _) => (*one).clone(),
            ([], Ok(id)) => id,
            ([], Err(source)) => {
                // A text that could be a name or the beginning of an id is one that nothing here has.
                let is_odd = text.is_empty() || text.contains(['/', ' ']);
                return Err(if is_odd {
                    source.into()
                } else {
                    let names = all.iter().map(|id| id.name().as_str());
                    let near = nearest(text, names).map(str::to_owned);
                    CommandError::Unknown { text: text.clone(), near }
                });
            }
            (several, _) => {
                let candidates: Vec<String> =
                    several.iter().take(MOST_CANDIDATES).map(ToString::to_string).collect();
                let more = several.len() - candidates.len();
                return Err(CommandError::Ambiguous { text: text.clone(), candidates, more });
            }
        });
    }
    Ok(found)
}
