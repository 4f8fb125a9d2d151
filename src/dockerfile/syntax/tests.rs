use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::dockerfile::model::{ArgDeclaration, CommandForm, Healthcheck, TransferSource};

/// The instructions of a stage.
fn statements(text: &str) -> Vec<Instruction> {
    let dockerfile = Dockerfile::parse(&format!("FROM x\n{text}")).unwrap();
    let stage = dockerfile.stages.into_iter().next().unwrap();
    stage.statements.into_iter().map(|statement| statement.instruction).collect()
}

fn one(text: &str) -> Instruction {
    let mut all = statements(text);
    assert_eq!(all.len(), 1, "{text}");
    all.remove(0)
}

#[test]
fn stages_have_names_platforms_and_places() {
    let text = "ARG A=1 B\n\n# x\nfrom --platform=$P img:$A As Name\nRUN x\nFROM name\n";
    let dockerfile = Dockerfile::parse(text).unwrap();
    let Instruction::Arg(arguments) = &dockerfile.arguments[0].instruction else { panic!() };
    let argument = |name: &str, default: Option<&str>| ArgDeclaration {
        name: name.to_owned(),
        default: default.map(str::to_owned),
    };
    assert_eq!(*arguments, [argument("A", Some("1")), argument("B", None)]);
    let stage = &dockerfile.stages[0];
    assert_eq!((stage.name.as_deref(), &*stage.base), (Some("name"), "img:$A"));
    assert_eq!((stage.platform.as_deref(), stage.position.line), (Some("$P"), 4));
    assert_eq!(stage.statements[0].position.line, 5);
    assert_eq!(dockerfile.stages[1].label(), "1");
}

#[test]
fn commands_have_two_forms() {
    let exec =
        |words: &[&str]| CommandForm::Exec(words.iter().map(|&word| word.to_owned()).collect());
    let shell = |line: &str| CommandForm::Shell(line.to_owned());
    for (text, command) in [
        (r#"["a", "b c"]"#, exec(&["a", "b c"])),
        ("[]", exec(&[])),
        ("a  'b' $c", shell("a  'b' $c")),
        ("['a']", shell("['a']")),
        (r#"["a"] && b"#, shell(r#"["a"] && b"#)),
        ("a \\\n  # comment\n  && b", shell("a   && b")),
    ] {
        assert_eq!(one(&format!("CMD {text}")), Instruction::Cmd(command.clone()));
        assert_eq!(one(&format!("ENTRYPOINT {text}")), Instruction::Entrypoint(command));
    }
    assert_eq!(
        one("SHELL [\"/bin/bash\", \"-c\"]"),
        Instruction::Shell(vec!["/bin/bash".into(), "-c".into()])
    );
}

#[test]
fn here_documents_belong_to_their_words() {
    let Instruction::Run(run) = one("RUN --network=none <<EOF\na\n\\\n# b\nEOF\n") else {
        panic!()
    };
    assert_eq!(run.command, CommandForm::Shell("<<EOF".to_owned()));
    assert_eq!(run.documents[0].content, "a\n\\\n# b\n");
    let text = "RUN cat <<A - 3<<-\"B\" > /x && \\\n  true\na\nA\n\tb\n\tB\nUSER u\n";
    let both = statements(text);
    let Instruction::Run(run) = &both[0] else { panic!() };
    let shown: Vec<_> =
        run.documents.iter().map(|it| (&*it.name, it.text(), it.expand, it.descriptor)).collect();
    assert_eq!(
        shown,
        [("A", "a\n".to_owned(), true, None), ("B", "b\n".to_owned(), false, Some(3))]
    );
    assert_eq!(both[1], Instruction::User("u".to_owned()));
    let Instruction::Copy(copy) = one("COPY f <<a.txt <<\"b\" /x/\n1\na.txt\n2\nb\n") else {
        panic!()
    };
    let names: Vec<_> = copy
        .sources
        .iter()
        .map(|source| match source {
            TransferSource::Location(text) => text.clone(),
            TransferSource::Document(document) => format!("{}:{}", document.name, document.content),
        })
        .collect();
    assert_eq!(names, ["f", "a.txt:1\n", "b:2\n"]);
    let Instruction::Onbuild(trigger) = one("ONBUILD RUN <<E\nx\nE\n") else { panic!() };
    assert_eq!(trigger.text, "RUN <<E\nx\nE");
    assert_eq!(parse_trigger(&trigger.text).unwrap().instruction, trigger.statement.instruction);
    let Instruction::Copy(json) = one(r#"COPY ["<<E", "b c", "/d e/"]"#) else { panic!() };
    assert_eq!((json.sources.len(), &*json.destination), (2, "/d e/"));
}

#[test]
fn flags_are_read() {
    let Instruction::Copy(copy) = one(
        "COPY --from=b --chown=a:b --chmod=u+x --link --parents=false --exclude=*.a --exclude=b x y",
    ) else {
        panic!()
    };
    assert_eq!((copy.from.as_deref(), copy.chown.as_deref()), (Some("b"), Some("a:b")));
    assert_eq!(
        (copy.link, copy.parents, &*copy.exclude),
        (true, false, &["*.a".to_owned(), "b".to_owned()][..])
    );
    let Instruction::Add(add) =
        one("ADD --checksum=sha256:x --keep-git-dir --unpack=false http://x /")
    else {
        panic!()
    };
    assert_eq!(
        (add.checksum.as_deref(), add.keep_git, add.unpack),
        (Some("sha256:x"), true, Some(false))
    );
    let check = one("HEALTHCHECK --interval=1m --timeout=1.5s --retries=3 --start-period=0s CMD x");
    let Instruction::Healthcheck(Healthcheck::Check { interval, timeout, retries, .. }) = check
    else {
        panic!()
    };
    assert_eq!((interval, timeout, retries), (60_000_000_000, 1_500_000_000, 3));
    assert_eq!(one("HEALTHCHECK none"), Instruction::Healthcheck(Healthcheck::None));
    let Instruction::Run(run) = one("RUN --mount=type=cache,target=/c --mount=type=ssh -- --x")
    else {
        panic!()
    };
    assert_eq!((run.mounts.len(), run.command), (2, CommandForm::Shell("--x".to_owned())));
}

#[test]
fn another_escape_continues_lines_and_joins_words() {
    let text = "# escape=`\nFROM x\nENV A=b` c `\n  D=c:\\d\nRUN dir `\n c:\\\n";
    let dockerfile = Dockerfile::parse(text).unwrap();
    let statements = &dockerfile.stages[0].statements;
    let pairs = vec![("A".to_owned(), "b` c".to_owned()), ("D".to_owned(), "c:\\d".to_owned())];
    assert_eq!(statements[0].instruction, Instruction::Env(pairs));
    let Instruction::Run(run) = &statements[1].instruction else { panic!() };
    assert_eq!(run.command, CommandForm::Shell("dir  c:\\".to_owned()));
}

/// One file per message in `tests/data/bad/dockerfile`; what is said is in the snapshot beside it.
#[test]
fn what_is_wrong_is_shown_with_its_line() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bad");
    let mut paths: Vec<_> = fs_err::read_dir(data.join("dockerfile"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut said = String::new();
    for path in paths {
        let text = fs_err::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let around = crate::dockerfile::options::DockerfileSurroundings::default();
        let problem =
            crate::dockerfile::evaluate::check(&text, &around, &mut |_| {}).expect_err(&name);
        let report = problem.in_file(Path::new("Dockerfile"), &text);
        _ = writeln!(said, "## {name}\n{report}");
        if let Some(hint) = report.hint() {
            _ = writeln!(said, "hint: {hint}");
        }
        said.push('\n');
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(data);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("dockerfile", said));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(FROM|RUN|COPY|ENV|ARG|<<A|A|[ \n\\\\=$\"'{}#-]){0,40}") {
        drop(Dockerfile::parse(&text));
    }
}
