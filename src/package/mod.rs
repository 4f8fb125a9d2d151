//! Description of packages in their folders: pure types and parsers, from text to checked values.
//!
//! Nothing here reads a file or runs a process. Text becomes a [`json::JsonNode`] tree that remembers
//! where each value stands, and that becomes a [`BuildInfo`], a [`TreeInfo`] or an upstream
//! [`PackageSource`]; an error names the file, the line and the column (docs/format.md, "JSON
//! files").

mod buildinfo;
pub mod contents;
pub mod hash;
mod id;
pub mod json;
mod json_text;
pub mod matching;
mod name;
pub mod paths;
pub mod problem;
mod requirement;
mod source;
mod treeinfo;
mod variant;
pub mod yaml;

pub use buildinfo::{BuildInfo, StateDirectory};
pub(crate) use buildinfo::{check_variable_value, wrong_variable};
pub use id::PackageId;
pub use name::{DEFAULT_IMAGE, GroupName, ImageName, NameError, PackageName, UserName, Version};
pub use problem::{Problem, Report};
pub use requirement::Requirement;
pub use source::{
    CommitId, FileSource, PackageSource, SourceName, SourceSpec, UrlError, path_of_file_url,
};
pub use treeinfo::TreeInfo;
pub use variant::{Variant, VariantError, variant_of_file};

/// True if a variable can have this name: a shell's identifier. Any other one is code, or a line of its own,
/// in the file `environment.export`.
pub fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The first code point of a text that Unicode has set aside for no character ("noncharacters": U+FDD0 to U+FDEF,
/// and the last two of each plane). systemd takes a file with one for no text at all (its `unichar_is_valid`).
pub fn noncharacter_in(text: &str) -> Option<char> {
    let is_one = |letter: &char| {
        matches!(letter, '\u{fdd0}'..='\u{fdef}') || u32::from(*letter) & 0xfffe == 0xfffe
    };
    text.chars().find(is_one)
}

/// Unit names that a package may not bring, because the host side owns them (docs/format.md,
/// "Units").
pub const RESERVED_UNITS: [&str; 3] =
    ["dcos.target", "dcos-download.service", "dcos-setup.service"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noncharacters_are_those_of_unicode() {
        for code in [0xfdd0, 0xfdef, 0xfffe, 0xffff, 0x1_fffe, 0x8_ffff, 0x10_ffff] {
            let letter = char::from_u32(code).unwrap();
            assert_eq!(noncharacter_in(&format!("ä{letter}x")), Some(letter), "{code:x}");
        }
        for code in [0, 0x7f, 0xfdcf, 0xfdf0, 0xfeff, 0xfffd, 0x1_0000, 0x1_fffd, 0x10_fffd, 0xe000]
        {
            assert_eq!(
                noncharacter_in(&char::from_u32(code).unwrap().to_string()),
                None,
                "{code:x}"
            );
        }
    }
}
