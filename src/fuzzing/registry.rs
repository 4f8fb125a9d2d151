//! Texts of registries, and data about them: challenges, credentials, documents, locations.

use crate::image::platform::Platform;
use crate::image::registry::read_served;
use crate::store::registry::{
    CredentialEntry, RegistryHost, RegistryMirror, look_up_credentials, parse_challenges,
};

/// Tries any text as each kind, since the kinds cannot be told apart.
pub(super) fn answers(data: &[u8]) -> bool {
    let served = read_served(data, &Platform::host());
    let Ok(text) = std::str::from_utf8(data) else { return served };
    let challenges = parse_challenges(text);
    for challenge in &challenges {
        assert!(format!("{challenge:?}").len() <= 8 * text.len() + 200);
    }
    let credentials = match look_up_credentials(text, "host:5000", "some/where") {
        Ok(Some(CredentialEntry::Ask(name))) => {
            // It becomes a part of a program's name.
            assert!(!name.contains(['/', '\0']) && !name.is_empty());
            true
        }
        Ok(found) => found.is_some(),
        // The error of a faulty file quotes nothing of its content.
        Err(problem) => {
            assert!(problem.len() < 200 && problem.is_ascii(), "{problem}");
            false
        }
    };
    let host = text.parse::<RegistryHost>();
    if let Ok(host) = &host {
        assert_eq!(host.as_str().parse().as_ref(), Ok(host));
    }
    let mirror = text.parse::<RegistryMirror>().is_ok();
    let platform = text.parse::<Platform>();
    if let Ok(platform) = &platform {
        assert_eq!(platform.to_string().parse().as_ref(), Ok(platform));
    }
    served || credentials || !challenges.is_empty() || host.is_ok() || mirror || platform.is_ok()
}
