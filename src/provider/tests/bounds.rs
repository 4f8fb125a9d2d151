//! Providers that would take the stack, the memory or the time of mkpanda.

use std::time::Duration;

use super::super::bounds::OutputLimits;
use super::*;

/// Longest chain of a link that one tag may have.
const LONG: usize = 990;

#[test]
fn chains_as_long_as_a_tag_may_be_fit_a_stack() {
    let chain = |count: usize, link: &str| link.repeat(count);
    for text in [
        format!("{{{{ 1{} }}}}", chain(LONG / 2, "+1")),
        format!("{{{{ {}1 }}}}", chain(LONG, "- ")),
        format!("{{{{ {}1 }}}}", chain(LONG, "not ")),
        format!("{{{{ v{} }}}}", chain(LONG / 2, "|lower")),
        format!("{{{{ v{} }}}}", chain(LONG / 3, "[0]")),
        format!("{{% set {}v{} = 1 %}}", chain(LONG / 2 - 5, "("), chain(LONG / 2 - 5, ")")),
        format!("{{% if v %}}{}{{% endif %}}", chain(200, "{% elif v %}")),
        format!("{{{{ {:?} }}}}", chain(10_000, "x")),
        chain(1000, "{ {} "),
        format!("{{# {{{{ #}}{}", chain(10_000, "x")),
        format!("{{% raw %}}{{{{ {} {{% endraw %}}", chain(10_000, "1 + ")),
        format!("{{% raw %}}{}{{% endraw %}}", chain(1000, "{% elif v %}")),
    ] {
        let shown: String = text.chars().take(20).collect();
        rendered("out.txt", &text, "x").unwrap_or_else(|error| panic!("{shown}: {error}"));
    }
    // Not valid, and found so without an endless stack.
    for text in [format!("{{{{ v{} }}}}", chain(LONG / 2, ".a")), chain(500_000, "{")] {
        rendered("out.txt", &text, "x").unwrap_err();
    }
}

#[test]
fn the_deepest_template_fits_the_stack_of_a_program() {
    let (blocks, tags) = (140, 290);
    let text = format!(
        "{}{{{{ {}v }}}}{}{}",
        "{% if v %}".repeat(blocks),
        "not ".repeat(LONG),
        "{% elif v %}".repeat(tags),
        "{% endif %}".repeat(blocks)
    );
    // Frames of a test are larger than those of the program, whose first thread has 8 MiB.
    let deep = std::thread::Builder::new().stack_size(8 << 20);
    let rendered = deep.spawn(move || rendered("out.txt", &text, "x")).unwrap().join().unwrap();
    assert_eq!(rendered.as_deref(), Ok("true"));
}

#[test]
fn chains_that_would_need_an_endless_stack_are_refused() {
    let chain = |count: usize, link: &str| link.repeat(count);
    let sum = chain(500_000, "+1");
    let (tag, branches) = ("words and operators", "elif in a template");
    for (text, reason) in [
        (format!("{{{{ 1{sum} }}}}"), tag),
        (format!("{{{{ 1{sum}"), tag),
        (format!("{{{{ \"}}}}\"{}1 }}}}", chain(100_000, "~\"}}\"~")), tag),
        (format!("{{{{ '{{%' ~ '%}}' ~ 1{sum} }}}}"), tag),
        (format!("{{# {{% #}}{{{{ 1{sum} }}}}"), tag),
        (format!("{{% raw %}}{{{{{{% endraw %}}{{{{ 1{sum} }}}}"), tag),
        (format!("{{{{ v{} }}}}", chain(500_000, ".a")), tag),
        (format!("{{% if {} v %}}{{% endif %}}", chain(100_000, "not ")), tag),
        (format!("{{% set {}v = 1 %}}", chain(100_000, "(")), tag),
        (format!("{{% if v %}}{}{{% endif %}}", chain(50_000, "{%-elif v %}")), branches),
        (format!("{{% if v %}}{}{{% endif %}}", chain(50_000, "{%\nelif v %}")), branches),
        (format!("{{% if v %}}{}{{% endif %}}", chain(50_000, "{%+\t\nelif '%}' %}")), branches),
    ] {
        let error = rendered("out.txt", &text, "x").unwrap_err();
        let shown: String = text.chars().take(20).collect();
        assert!(error.contains(reason), "{shown}: {}", &error[..error.len().min(500)]);
    }
}

#[test]
fn files_together_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "outputs:\n- {name: a, template: t.txt}\n- {name: b, template: t.txt}\n\
                pages:\n- {name: c, template: t.txt}\n- {name: d, template: t.txt}\n\
                packages:\n- name: p\n  files:\n  - {path: etc/x, template: t.txt}\n";
    fs_err::write(folder.path().join("provider.yaml"), yaml).unwrap();
    fs_err::write(folder.path().join("t.txt"), "ten bytes\n").unwrap();
    let provider = Provider::read(folder.path()).unwrap();
    let within = |bytes: usize, time: Duration| {
        let limits = OutputLimits { bytes, time };
        let files = provider.render_within(&Values::new(), limits).map(|files| files.len());
        let pages = provider.render_pages_within(&Values::new(), &[], limits);
        let pages = pages.map(|pages| pages.len());
        [files, pages].map(|result| result.map_err(|error| error.to_string()))
    };
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    let refused = |what: &str| Err(format!("provider {name}: its {what}"));
    let minute = Duration::from_secs(60);
    assert_eq!(within(30, minute), [Ok(3), Ok(2)]);
    assert_eq!(within(29, minute), [refused("outputs have more than 29 bytes together"), Ok(2)]);
    assert_eq!(within(19, minute)[1], refused("pages have more than 19 bytes together"));
    assert_eq!(
        within(30, Duration::ZERO),
        [
            refused("outputs take longer than 0 s together"),
            refused("pages take longer than 0 s together")
        ]
    );
}
