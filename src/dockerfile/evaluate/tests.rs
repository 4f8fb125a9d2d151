use super::*;
use crate::dockerfile::step::{CopySource, RunMount};

/// The last stage's configuration and the steps of all of its instructions.
fn evaluate(text: &str, given: &[(&str, &str)]) -> (ConfigDocument, Vec<LayerStep>) {
    evaluate_on(text, given, &ConfigDocument::scratch(&Platform::host()))
}

fn evaluate_on(
    text: &str,
    given: &[(&str, &str)],
    image: &ConfigDocument,
) -> (ConfigDocument, Vec<LayerStep>) {
    let arguments = given.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let platform = "linux/arm/v6".parse().unwrap();
    let around = DockerfileSurroundings {
        arguments,
        target_platform: platform,
        ..DockerfileSurroundings::default()
    };
    let dockerfile = Dockerfile::parse(text).unwrap();
    let scope = Scope::of(&dockerfile, &around).unwrap();
    let plan = graph::plan(&dockerfile, &scope, None, &Triggers::new()).unwrap();
    let mut finished: BTreeMap<usize, EvaluatedStage> = BTreeMap::new();
    let mut last = None;
    for planned in &plan.stages {
        let base = match planned.base {
            Base::Stage(number) => finished[&number].clone(),
            _ => EvaluatedStage::of_image(image.clone()),
        };
        let mut state = StageState::new(&scope, planned, base);
        let mut steps = Vec::new();
        for statement in state.statements(&dockerfile).unwrap() {
            let applied = state.apply(&statement).unwrap();
            state.record(&applied, None);
            steps.extend(applied.step);
        }
        let ended = state.finish();
        last = Some((ended.document.clone(), steps));
        finished.insert(planned.number, ended);
    }
    last.unwrap()
}

fn environment(text: &str, given: &[(&str, &str)]) -> Vec<String> {
    let (_, steps) = evaluate(text, given);
    let Some(LayerStep::Run(run)) = steps.last() else { panic!("no RUN") };
    let shown = run.environment.iter().filter(|(name, _)| name != "PATH");
    shown.map(|(name, value)| format!("{name}={value}")).collect()
}

#[test]
fn arguments_have_scopes() {
    let given = [("A", "given")];
    for (text, given, expected) in [
        ("FROM x\nARG A\nRUN x", &given[..], &["A=given"][..]),
        ("FROM x\nARG A=own\nRUN x", &given, &["A=given"]),
        ("FROM x\nARG A=own\nRUN x", &[], &["A=own"]),
        ("FROM x\nARG A\nRUN x", &[], &[]),
        ("FROM x\nRUN x", &given, &[]),
        ("ARG A=global\nFROM x\nRUN x", &[], &[]),
        ("ARG A=global\nFROM x\nARG A\nRUN x", &[], &["A=global"]),
        ("ARG A=global\nFROM x\nARG A=own\nRUN x", &[], &["A=own"]),
        ("ARG A=global\nFROM x\nARG A\nRUN x", &given, &["A=given"]),
        ("ARG A=1\nARG B=$A$A\nFROM x\nARG B\nRUN x", &[], &["B=11"]),
        ("FROM x\nARG A=1 B=$A\nARG C=$B\nRUN x", &[], &["A=1", "B=1", "C=1"]),
        ("FROM x\nARG A=arg\nENV A=env\nRUN x", &given, &["A=env"]),
        ("FROM x\nENV A=env\nARG A=arg\nRUN x", &[], &["A=env"]),
        ("FROM x\nARG A=arg\nENV B=${A}2\nRUN x", &[], &["B=arg2", "A=arg"]),
        ("FROM x AS a\nARG A=1\nFROM a\nRUN x", &[], &["A=1"]),
        ("FROM x AS a\nARG A=1\nFROM a\nARG A\nRUN x", &[], &["A=1"]),
        ("FROM x\nARG A=1\nARG A\nRUN x", &[], &["A=1"]),
        ("ARG A=global\nFROM x\nARG A=1\nARG A\nRUN x", &[], &["A=global"]),
        ("FROM x\nARG A=1\nARG A=${A}2\nRUN x", &[], &["A=12"]),
        ("FROM x AS a\nARG A=1\nFROM x\nRUN --mount=from=a,target=/a x", &[], &[]),
        (
            "FROM x\nARG TARGETPLATFORM\nARG TARGETARCH\nARG TARGETVARIANT\nRUN x",
            &[],
            &["TARGETARCH=arm", "TARGETPLATFORM=linux/arm/v6", "TARGETVARIANT=v6"],
        ),
        (
            "FROM x\nARG SOURCE_DATE_EPOCH\nRUN x",
            &[("SOURCE_DATE_EPOCH", "5")],
            &["SOURCE_DATE_EPOCH=5"],
        ),
    ] {
        assert_eq!(environment(text, given), expected, "{text}");
    }
}

#[test]
fn variables_of_one_env_do_not_see_each_other() {
    let text = "FROM x\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\nRUN x";
    assert_eq!(environment(text, &[]), ["abc=bye", "def=hello", "ghi=bye"]);
}

#[test]
fn proxies_need_no_declaration_and_stay_apart() {
    let (document, steps) = evaluate("FROM x\nRUN x", &[("HTTP_PROXY", "p"), ("no_proxy", "n")]);
    let LayerStep::Run(run) = &steps[0] else { panic!() };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(run.proxies, [pair("HTTP_PROXY", "p"), pair("no_proxy", "n")]);
    assert_eq!(document.history[0].created_by.as_deref(), Some("RUN /bin/sh -c x"));
    assert_eq!(
        environment("FROM x\nARG HTTP_PROXY\nRUN x", &[("HTTP_PROXY", "p")]),
        ["HTTP_PROXY=p"]
    );
}

#[test]
fn commands_of_bases_are_reset_by_an_entrypoint() {
    let mut image = ConfigDocument::scratch(&Platform::host());
    image.config.cmd = Some(vec!["base".to_owned()]);
    let cmd = |text: &str| evaluate_on(text, &[], &image).0.config;
    assert_eq!(cmd("FROM x\nENV a=b").cmd, Some(vec!["base".to_owned()]));
    assert_eq!(cmd("FROM x\nENTRYPOINT [\"e\"]").cmd, None);
    assert_eq!(cmd("FROM x\nCMD [\"c\"]\nENTRYPOINT [\"e\"]").cmd, Some(vec!["c".to_owned()]));
    let shell = cmd("FROM x\nSHELL [\"/b\", \"-c\"]\nENTRYPOINT e f\nCMD g");
    assert_eq!(shell.entrypoint.unwrap(), ["/b", "-c", "e f"]);
    assert_eq!(shell.cmd.unwrap(), ["/b", "-c", "g"]);
    assert_eq!(cmd("FROM x\nENTRYPOINT []").entrypoint, None);
}

#[test]
fn triggers_run_first_and_once() {
    let text = "FROM x AS a\nONBUILD ENV A=1\nONBUILD USER u\nFROM a AS b\nUSER v\nFROM b\nRUN x";
    let (document, _) = evaluate(text, &[]);
    assert_eq!(document.config.env, ["A=1"]);
    assert_eq!((&*document.config.user, document.config.on_build.len()), ("v", 0));
    let shown: Vec<_> = document.history.iter().filter_map(|it| it.created_by.as_deref()).collect();
    assert_eq!(
        shown,
        ["ONBUILD ENV A=1", "ONBUILD USER u", "ENV A=1", "USER u", "USER v", "RUN /bin/sh -c x"]
    );
    let mut image = ConfigDocument::scratch(&Platform::host());
    image.config.on_build = vec!["COPY a".to_owned()];
    let dockerfile = Dockerfile::parse("FROM x").unwrap();
    let scope = Scope::of(&dockerfile, &DockerfileSurroundings::default()).unwrap();
    let plan = graph::plan(&dockerfile, &scope, None, &Triggers::new()).unwrap();
    let state = StageState::new(&scope, &plan.stages[0], EvaluatedStage::of_image(image));
    let problem = state.statements(&dockerfile).unwrap_err();
    assert!(problem.message.starts_with("the base image's ONBUILD COPY a:"), "{problem:?}");
}

#[test]
fn metadata_is_as_docker_has_it() {
    let text = "FROM x\nARG P=\"80 443\"\nEXPOSE $P 53/udp 1-2\nLABEL a=$P \"b c\"='d'\nVOLUME [\"/v\"]\n\
        VOLUME /w /x\nSTOPSIGNAL SIGINT\nWORKDIR /a\nWORKDIR b/../c/\nUSER ${U:-me}\nMAINTAINER who ever\n\
        HEALTHCHECK --retries=2 CMD x y\n";
    let (document, steps) = evaluate(text, &[]);
    let config = document.config;
    let ports: Vec<_> = config.exposed_ports.iter().map(String::as_str).collect();
    assert_eq!(ports, ["1/tcp", "2/tcp", "443/tcp", "53/udp", "80/tcp"]);
    assert_eq!((&*config.labels["a"], &*config.labels["b c"]), ("80 443", "d"));
    assert_eq!(config.volumes.len(), 3);
    assert_eq!(
        (&*config.stop_signal, &*config.working_dir, &*config.user),
        ("SIGINT", "/a/c", "me")
    );
    assert_eq!(document.author.as_deref(), Some("who ever"));
    let health = config.healthcheck.unwrap();
    assert_eq!((health.test, health.retries), (vec!["CMD-SHELL".to_owned(), "x y".to_owned()], 2));
    let folder =
        |path: &str| LayerStep::Folder(FolderStep { path: path.to_owned(), user: String::new() });
    assert_eq!(steps, [folder("/a"), folder("/a/c")]);
    assert_eq!(document.created.as_deref(), Some("1970-01-01T00:00:00Z"));
}

#[test]
fn scripts_reach_their_shell() {
    let run = |text: &str| match evaluate(&format!("FROM x\n{text}"), &[]).1.remove(0) {
        LayerStep::Run(run) => run,
        other => panic!("{other:?}"),
    };
    assert_eq!(run("RUN <<E\na $b\nE").command, ["/bin/sh", "-c", "a $b\n"]);
    let script = run("RUN <<-E\n\t#!/bin/x\n\ta\n\tE");
    assert_eq!(script.command, ["/bin/sh", "-c", "/dev/pipes/E"]);
    assert_eq!(script.documents[0].content, "#!/bin/x\na\n");
    assert_eq!(run("RUN x <<E >y\na\nE").command[2], "x <<E >y\na\nE");
    assert_eq!(run("RUN x <<A <<-B\na\nA\n\tb\nB").command[2], "x <<A <<-B\na\nA\n\tb\nB");
    let mounts = run(
        "RUN --mount=type=secret,id=s --mount=type=cache,target=c --mount=target=/b,source=../s x",
    )
    .mounts;
    assert!(
        matches!(&mounts[0], RunMount::Secret { id, target, .. } if id == "s" && target.as_deref() == Some("/run/secrets/s"))
    );
    assert!(
        matches!(&mounts[1], RunMount::Cache { id, target, .. } if id == "/c" && target == "/c")
    );
    assert!(matches!(&mounts[2], RunMount::Bind { source, writable: false, .. } if source == "s"));
}

#[test]
fn copies_are_expanded_and_normal() {
    let copy = |text: &str| match evaluate(&format!("FROM x\nWORKDIR /w\nENV D=d e=f\n{text}"), &[])
        .1
        .remove(1)
    {
        LayerStep::Copy(copy) => copy,
        other => panic!("{other:?}"),
    };
    let step = copy("COPY --chown=$D:g --chmod=0640 /a ../b/ $D/");
    assert_eq!((&*step.destination, step.chown.as_deref()), ("/w/d/", Some("d:g")));
    assert_eq!(step.sources, [CopySource::Path("a".to_owned()), CopySource::Path("b".to_owned())]);
    assert_eq!(copy("COPY a .").destination, "/w/");
    let document = copy("COPY <<$D <<'q' /x/\n$D \\$D '$D'\n$D\n$D\nq");
    let contents: Vec<_> = document
        .sources
        .iter()
        .map(|source| match source {
            CopySource::Document(document) => (&*document.name, &*document.content),
            _ => panic!(),
        })
        .collect();
    assert_eq!(contents, [("$D", "d $D 'd'\n"), ("q", "$D\n")]);
    let git = copy("ADD --keep-git-dir git@h:r.git#v1:sub /g");
    assert!(
        matches!(&git.sources[0], CopySource::Git(it) if it.keep_git && it.reference.as_deref() == Some("v1"))
    );
}

#[test]
fn bases_and_platforms_are_expanded_with_what_is_global() {
    let text = "ARG V=1\nFROM --platform=$BUILDPLATFORM img:$V-$TARGETARCH AS a\nFROM scratch\n";
    let dockerfile = Dockerfile::parse(text).unwrap();
    let around = DockerfileSurroundings {
        target_platform: "linux/riscv64".parse().unwrap(),
        ..DockerfileSurroundings::default()
    };
    let scope = Scope::of(&dockerfile, &around).unwrap();
    assert_eq!(scope.base(&dockerfile.stages[0]).unwrap(), Base::Image("img:1-riscv64".to_owned()));
    assert_eq!(scope.platform(&dockerfile.stages[0]).unwrap(), Platform::host());
    assert_eq!(scope.base(&dockerfile.stages[1]).unwrap(), Base::Scratch);
    assert_eq!(scope.platform(&dockerfile.stages[1]).unwrap(), around.target_platform);
}

#[test]
fn what_no_command_can_be_given_is_refused_where_one_is_run() {
    let problem = |text: &str, document: &ConfigDocument| {
        let dockerfile = Dockerfile::parse(text).unwrap();
        let scope = Scope::of(&dockerfile, &DockerfileSurroundings::default()).unwrap();
        let plan = graph::plan(&dockerfile, &scope, None, &Triggers::new()).unwrap();
        let base = EvaluatedStage::of_image(document.clone());
        let mut state = StageState::new(&scope, &plan.stages[0], base);
        let statements = state.statements(&dockerfile).unwrap();
        let problem = |statement: &PlacedInstruction| state.apply(statement).err();
        statements.iter().find_map(problem).map(|problem| problem.message)
    };
    let relative = br#"{"config": {"WorkingDir": "app"}, "rootfs": {"type": "layers"}}"#;
    let word = br#"{"config": {"env": ["WORD"]}, "rootfs": {"type": "layers"}}"#;
    let above = br#"{"config": {"WorkingDir": "/a/../b"}, "rootfs": {"type": "layers"}}"#;
    let nul = br#"{"config": {"Env": ["A=\u0000"]}, "rootfs": {"type": "layers"}}"#;
    for (config, name) in [
        (&relative[..], "\"app\""),
        (word, "\"WORD\""),
        (above, "\"/a/../b\""),
        (nul, "environment has a NUL byte"),
    ] {
        let document = ConfigDocument::parse(config).unwrap();
        assert_eq!(problem("FROM x\nCOPY a /a\nENV A=1\nCMD x\n", &document), None);
        let refused = problem("FROM x\nRUN x\n", &document).unwrap();
        assert!(refused.contains(name), "{refused}");
    }
    let document = ConfigDocument::parse(relative).unwrap();
    assert_eq!(problem("FROM x\nWORKDIR /w\nRUN x\n", &document), None);
}

#[test]
fn names_of_arguments_are_expanded() {
    let text = "ARG pre=A\nARG ${pre}B=c\nFROM $AB\nARG pre\nARG x${pre}=1\nENV Y=$xA\n";
    let (document, _) = evaluate(text, &[]);
    assert_eq!(document.variable("Y"), Some("1"));
    let (document, _) = evaluate(text, &[("xA", "given")]);
    assert_eq!(document.variable("Y"), Some("given"));
    let dockerfile = Dockerfile::parse("FROM x\nARG ${none}=1\n").unwrap();
    let scope = Scope::of(&dockerfile, &DockerfileSurroundings::default()).unwrap();
    let plan = graph::plan(&dockerfile, &scope, None, &Triggers::new()).unwrap();
    let base = EvaluatedStage::scratch(&Platform::host());
    let mut state = StageState::new(&scope, &plan.stages[0], base);
    let statements = state.statements(&dockerfile).unwrap();
    assert!(state.apply(&statements[0]).is_err(), "a name that is empty");
}
