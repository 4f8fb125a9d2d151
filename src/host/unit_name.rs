//! Names of units (systemd.unit(5)).

/// Kinds of units that can be files.
const KINDS: [&str; 9] =
    ["service", "socket", "target", "timer", "path", "mount", "automount", "swap", "slice"];

/// Length of the longest name.
// With the ending (systemd.unit(5)).
const LONGEST: usize = 255;

/// True if a file can be a unit of this name, so that nothing else is meant where systemd is asked for it:
/// `systemctl stop ssh` stops `ssh.service`.
pub(super) fn is_unit_name(name: &str) -> bool {
    let is_kind = |(stem, kind): (&str, &str)| {
        !stem.is_empty() && !stem.starts_with('@') && KINDS.contains(&kind)
    };
    is_plain(name) && name.len() <= LONGEST && name.rsplit_once('.').is_some_and(is_kind)
}

/// True if a name has only valid characters, and is neither an option nor hidden.
pub(super) fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    // The names are handed to systemctl, partly without a `--` before them.
    name.bytes().all(allowed) && !name.starts_with(['-', '.']) && !name.is_empty()
}

/// The template of an instance: `a@.service` of `a@x.service`.
pub(super) fn template_of(unit: &str) -> Option<String> {
    let (stem, kind) = unit.rsplit_once('.')?;
    let (prefix, instance) = stem.split_once('@')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{kind}"))
}

/// True if a name is a template's, `a@.service`, which is not started itself.
pub(super) fn is_template(unit: &str) -> bool {
    instance_of(unit, "").is_some()
}

/// An instance of a template.
pub(super) fn instance_of(template: &str, instance: &str) -> Option<String> {
    let (stem, kind) = template.rsplit_once('.')?;
    let (prefix, rest) = stem.split_once('@')?;
    rest.is_empty().then(|| format!("{prefix}@{instance}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_units_name_says_its_kind() {
        for kind in KINDS {
            for stem in ["a", "a@", "a@x", "a.b", "var-lib\\x2da", "a:b_c"] {
                assert!(is_unit_name(&format!("{stem}.{kind}")), "{stem}.{kind}");
            }
        }
        let others = [
            "",
            "a",
            "ssh",
            "README",
            ".service",
            "service",
            "a.",
            "a.conf",
            "a.Service",
            "a.service.d",
            "a.target.wants",
            "a.service~",
            "environment.export",
            "active",
            "etc",
            "dev-sda.device",
            "a.scope",
            "@.service",
            "@x.service",
            "-a.service",
            ".a.service",
            "a b.service",
            "a/b.service",
            "a*.service",
            "a\n.service",
            "ä.service",
        ];
        for name in others {
            assert!(!is_unit_name(name), "{name:?}");
        }
        let length = |length: usize| format!("{}.service", "a".repeat(length - ".service".len()));
        assert!(is_unit_name(&length(255)) && !is_unit_name(&length(256)));
    }

    #[test]
    fn only_an_instance_has_a_template() {
        let table = [
            ("a@x.service", Some("a@.service")),
            ("a@b@c.socket", Some("a@.socket")),
            ("a@x.y.timer", Some("a@.timer")),
            ("a@.service", None),
            ("a.service", None),
            ("a", None),
        ];
        assert_eq!(instance_of("a@.service", "x").as_deref(), Some("a@x.service"));
        for (unit, expected) in table {
            assert_eq!(template_of(unit).as_deref(), expected, "{unit}");
            assert_eq!(is_template(unit), unit == "a@.service", "{unit}");
        }
    }
}
