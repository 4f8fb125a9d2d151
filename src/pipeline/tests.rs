//! Pipelines of random graphs, in the form of each engine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::base::digest::Sha256Sum;
use crate::package::Variant;
use crate::package::yaml::YamlNode;
use crate::tree::PackageKey;

fn key(name: &str) -> PackageKey {
    PackageKey { name: name.parse().unwrap(), variant: Variant::DEFAULT }
}

/// Numbers that only look random.
fn numbers(seed: u64) -> impl Iterator<Item = usize> {
    let sum = move |count: u64| Sha256Sum::of(&[seed.to_le_bytes(), count.to_le_bytes()].concat());
    (0..).map(move |count| usize::from_str_radix(&sum(count).to_string()[..8], 16).unwrap())
}

/// A graph like that of a distribution: most packages need a few of those before, near ones above all.
fn graph(count: usize) -> (Vec<PackageKey>, Vec<BTreeSet<usize>>) {
    let mut random = numbers(count as u64);
    let mut next = || random.next().unwrap();
    let keys = (0..count).map(|number| key(&format!("package-{number:04}"))).collect();
    let needs =
        (0..count).map(|place| {
            let wanted = if place < count / 10 { 0 } else { 1 + next() % 5 };
            (0..wanted)
                .map(|_| {
                    if next() % 2 == 0 {
                        next() % place
                    } else {
                        place - 1 - next() % place.min(30)
                    }
                })
                .collect()
        });
    let needs = needs.collect();
    (keys, needs)
}

fn pipeline(count: usize) -> Pipeline {
    let (keys, needs) = graph(count);
    Pipeline::of(&keys, &needs)
}

fn settings() -> JobSettings {
    JobSettings {
        tree: "packages".to_owned(),
        options: ["--cache", "s3://builds/mkpanda"].map(str::to_owned).into(),
        ..JobSettings::default()
    }
}

/// Holds a pipeline against its graph: each package once, behind what it needs, in levels.
fn hold(pipeline: &Pipeline, keys: &[PackageKey], needs: &[BTreeSet<usize>]) -> Result<(), String> {
    let mut jobs: BTreeMap<&PackageKey, (usize, usize)> = BTreeMap::new();
    for (place, job) in pipeline.jobs.iter().enumerate() {
        for (position, package) in job.packages.iter().enumerate() {
            if jobs.insert(package, (place, position)).is_some() {
                return Err(format!("{package} is built twice"));
            }
        }
        let level_of = |needed: &usize| pipeline.jobs[*needed].level;
        if !job.needs.iter().all(|needed| *needed < place && level_of(needed) < job.level) {
            return Err(format!("job {place} of level {} needs {:?}", job.level, job.needs));
        }
        if job.packages.is_empty() || pipeline.jobs[place.saturating_sub(1)].level > job.level {
            return Err(format!("job {place} is empty, or of a lower level than the one before"));
        }
    }
    for (package, needed) in keys.iter().zip(needs) {
        let Some((job, position)) = jobs.get(package) else {
            return Err(format!("{package} is lost"));
        };
        for needed in needed.iter().map(|needed| jobs[&keys[*needed]]) {
            let is_before = needed.0 == *job && needed.1 < *position
                || pipeline.jobs[*job].needs.contains(&needed.0);
            if !is_before {
                return Err(format!("{package} does not wait for a package of job {}", needed.0));
            }
        }
    }
    if jobs.len() == keys.len() { Ok(()) } else { Err("there are more packages".to_owned()) }
}

fn any_graph() -> impl Strategy<Value = Vec<BTreeSet<usize>>> {
    proptest::collection::vec(proptest::collection::vec(any::<usize>(), 0..4), 0..40).prop_map(
        |all| {
            let needs = all.into_iter().enumerate();
            needs
                .map(|(place, wanted)| {
                    wanted.into_iter().filter(|_| place > 0).map(|it| it % place.max(1)).collect()
                })
                .collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn each_package_is_built_once_and_behind_what_it_needs(needs in any_graph(), most in 1usize..50) {
        let keys: Vec<PackageKey> = (0..needs.len()).map(|place| key(&format!("p{place}"))).collect();
        let whole = Pipeline::of(&keys, &needs);
        prop_assert_eq!(hold(&whole, &keys, &needs), Ok(()));
        prop_assert_eq!(whole.jobs.len(), keys.len());
        let fewer = whole.within(most);
        prop_assert!(fewer.jobs.len() <= most.max(1));
        prop_assert_eq!(hold(&fewer, &keys, &needs), Ok(()));
        if keys.len() <= most {
            prop_assert_eq!(fewer, whole.clone());
        }
        for waves in [1, 3, most] {
            let grouped = whole.in_waves(waves, 4);
            let levels = grouped.levels();
            prop_assert!(levels.len() <= waves && levels.iter().all(|level| level.len() <= 4));
            prop_assert_eq!(hold(&grouped, &keys, &needs), Ok(()));
        }
    }
}

#[test]
fn jobs_of_one_level_are_put_together_and_levels_only_if_there_are_too_many() {
    // Eight packages without needs, and a chain of four.
    let keys: Vec<PackageKey> = (0..12).map(|place| key(&format!("p{place}"))).collect();
    let needs: Vec<BTreeSet<usize>> =
        (0..12).map(|place| if place > 8 { [place - 1].into() } else { BTreeSet::new() }).collect();
    let whole = Pipeline::of(&keys, &needs);
    let sizes = |pipeline: &Pipeline| -> Vec<Vec<usize>> {
        let sizes = |level: &Vec<usize>| {
            level.iter().map(|job| pipeline.jobs[*job].packages.len()).collect()
        };
        pipeline.levels().iter().map(sizes).collect()
    };
    assert_eq!(sizes(&whole), [vec![1; 9], vec![1], vec![1], vec![1]]);
    assert_eq!(sizes(&whole.within(8)), [vec![2, 2, 2, 2, 1], vec![1], vec![1], vec![1]]);
    assert_eq!(sizes(&whole.within(4)), [vec![9], vec![1], vec![1], vec![1]]);
    assert_eq!(sizes(&whole.within(2)), [vec![9], vec![3]]);
    assert_eq!(sizes(&whole.within(1)), [vec![12]]);
}

/// Texts of the engines for random graphs; docs/pipelines.md has their sizes.
#[test]
fn pipelines_of_many_packages_stay_below_the_limits() {
    let mut found = Vec::new();
    for count in [100, 300, 1000] {
        let whole = pipeline(count);
        let (keys, needs) = graph(count);
        for (engine, most, bytes) in [
            (Engine::Gitlab, 500, 1_000_000),
            (Engine::Buildkite, 500, 1_000_000),
            (Engine::Github, 1000, 500_000),
        ] {
            let made = text(engine, &whole, &settings(), None).unwrap();
            let (size, jobs) = (made.text.len(), made.pipeline.jobs.len());
            found.push((size / 1000, jobs));
            assert!(jobs <= most && size < bytes, "{count} {engine:?}: {jobs} jobs, {size} bytes");
            hold(&made.pipeline, &keys, &needs).unwrap();
            let read = YamlNode::parse(&made.text).unwrap().to_json();
            let most_needs = read
                .as_object()
                .unwrap()
                .values()
                .filter_map(|job| Some(job.get("needs")?.as_array()?.len()));
            assert!(most_needs.max().unwrap_or(0) <= 50);
            if engine == Engine::Github {
                for wave in read["jobs"].as_object().unwrap().values() {
                    let matrix = wave["strategy"]["matrix"]["include"].as_array().unwrap();
                    assert!((1..=256).contains(&matrix.len()));
                }
            }
        }
        let whole = text(Engine::Gitlab, &whole, &settings(), Some(usize::MAX)).unwrap();
        found.push((whole.text.len() / 1000, whole.pipeline.jobs.len()));
        assert_eq!(whole.pipeline.jobs.len(), count);
    }
    // Kilobytes and jobs: of GitLab, Buildkite, GitHub, and GitLab with a job for each package.
    let wanted = [
        [(34, 100), (55, 100), (18, 100), (34, 100)],
        [(101, 300), (165, 300), (42, 300), (101, 300)],
        [(252, 500), (335, 500), (132, 1000), (331, 1000)],
    ];
    assert_eq!(found, wanted.concat());
}

#[test]
fn deep_trees_become_fewer_waves_where_a_workflow_would_be_too_large() {
    let keys: Vec<PackageKey> = (0..700).map(|place| key(&format!("p{place}"))).collect();
    let needs: Vec<BTreeSet<usize>> =
        (0..700).map(|place| (0..place).rev().take(1).collect()).collect();
    let made = text(Engine::Github, &Pipeline::of(&keys, &needs), &settings(), None).unwrap();
    assert!(
        made.text.len() <= 500_000 && made.pipeline.levels().len() > 300,
        "{}",
        made.text.len()
    );
    hold(&made.pipeline, &keys, &needs).unwrap();
    let large =
        Template::parse(Path::new("t"), format!("env: {{A: {}}}", "x".repeat(20_000))).unwrap();
    let settings = JobSettings { template: large, ..settings() };
    let made = text(Engine::Github, &Pipeline::of(&keys, &needs), &settings, None).unwrap();
    assert!((20..=25).contains(&made.pipeline.jobs.len()), "{}", made.pipeline.jobs.len());
}

#[test]
fn a_workflow_that_plans_itself_has_a_matrix_for_each_wave() {
    let whole = pipeline(1000);
    let settings = JobSettings { bootstraps: true, ..settings() };
    let text = planned(&whole, &settings).unwrap();
    let waves = whole.levels().len();
    let read = YamlNode::parse(&text).unwrap().to_json();
    let jobs = read["jobs"].as_object().unwrap();
    assert_eq!(jobs.len(), waves + 2);
    let command = jobs["plan"]["steps"][1]["run"].as_str().unwrap();
    let wanted = format!(
        "mkpanda -C packages pipeline github --waves {waves} --cache s3://builds/mkpanda >> \"$GITHUB_OUTPUT\""
    );
    assert_eq!(command, wanted);
    let outputs = jobs["plan"]["outputs"].as_object().unwrap();
    assert_eq!(outputs.len(), waves);
    assert_eq!(jobs["wave-2"]["needs"], serde_json::json!(["plan", "wave-1"]));
    assert!(jobs["wave-2"]["if"].as_str().unwrap().contains("needs.plan.outputs.wave-2 != '[]'"));
    assert_eq!(jobs["bootstraps"]["needs"], serde_json::json!(["plan", format!("wave-{waves}")]));
    // The plan of as many waves, and of fewer than the tree has levels.
    for count in [waves, 5, waves + 1] {
        let lines = wave_lines(&whole, count);
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines.len(), count);
        let mut built = 0;
        for (number, line) in lines.iter().enumerate() {
            let matrix = line.strip_prefix(&format!("wave-{}=", number + 1)).unwrap();
            let matrix: Vec<BTreeMap<String, String>> = serde_json::from_str(matrix).unwrap();
            assert!(matrix.len() <= 256);
            built += matrix.iter().map(|entry| entry["packages"].split(' ').count()).sum::<usize>();
        }
        assert_eq!(built, 1000);
        assert_eq!(lines.last().unwrap().ends_with("=[]"), count > waves);
    }
    let deep: Vec<PackageKey> = (0..700).map(|place| key(&format!("p{place}"))).collect();
    let needs: Vec<BTreeSet<usize>> =
        (0..700).map(|place| (0..place).rev().take(1).collect()).collect();
    let deep = planned(&Pipeline::of(&deep, &needs), &settings).unwrap();
    assert!((400_000..=500_000).contains(&deep.len()), "{}", deep.len());
}

#[test]
fn jobs_with_too_many_needs_wait_for_all_stages_before() {
    let keys: Vec<PackageKey> = (0..53).map(|place| key(&format!("p{place:02}"))).collect();
    let mut needs = vec![BTreeSet::new(); 51];
    needs.extend([(0..50).collect(), (0..51).collect()]);
    let made = text(Engine::Gitlab, &Pipeline::of(&keys, &needs), &settings(), None).unwrap().text;
    let read = YamlNode::parse(&made).unwrap().to_json();
    assert_eq!(read["build p51"]["needs"].as_array().unwrap().len(), 50);
    assert_eq!(read["build p52"].get("needs"), None);
    assert_eq!(read["build p52"]["stage"], "level-2");
    assert_eq!(read["build p00"]["needs"], serde_json::json!([]));
}

/// Names that mean something to shells, to YAML and to the engines.
#[test]
fn odd_names_mean_nothing_to_shells_and_engines() {
    let odd = "a: 'b' \"$(id)\" ${{ x }} $HOME\n- c";
    let keys = vec![PackageKey { name: "p".parse().unwrap(), variant: odd.parse().unwrap() }];
    let whole = Pipeline::of(&keys, &[BTreeSet::new()]);
    let settings = JobSettings {
        tree: format!("-x/{odd}"),
        options: vec!["--cache".to_owned(), format!("/{odd}")],
        tags: vec![odd.to_owned()],
        ..JobSettings::default()
    };
    let word = |text: String| format!("'{}'", text.replace('\'', r"'\''"));
    let wanted = format!(
        "mkpanda -C {} pipeline build --logs ../../mkpanda-logs --cache {} {}",
        word(format!("./-x/{odd}")),
        word(format!("/{odd}")),
        word(format!("p:{odd}")),
    );
    let read = |engine| {
        YamlNode::parse(&text(engine, &whole, &settings, None).unwrap().text).unwrap().to_json()
    };
    let gitlab = read(Engine::Gitlab);
    assert_eq!(gitlab[format!("build p:{odd}")]["script"][0], wanted);
    assert_eq!(gitlab[".mkpanda"]["tags"][0], odd);
    let buildkite = read(Engine::Buildkite);
    let command = buildkite["steps"][0]["command"].as_str().unwrap();
    assert_eq!(command.replace("$$", "$"), wanted);
    assert!(!command.replace("$$", "").contains('$'));
    let key = buildkite["steps"][0]["key"].as_str().unwrap();
    assert!(
        key.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter)),
        "{key}"
    );
    let github = read(Engine::Github);
    let job = &github["jobs"]["wave-1"];
    let run = job["steps"][1]["run"].as_str().unwrap();
    let packages = job["strategy"]["matrix"]["include"][0]["packages"].as_str().unwrap();
    let evaluated = |text: &str| text.replace("${{ '${{' }}", "${{");
    let run = run.replace("${{ matrix.packages }}", &evaluated(packages));
    assert_eq!(evaluated(&run), wanted);
    assert_eq!(packages.matches("${{").count(), 2 * packages.matches("${{ '${{' }}").count());
    // The plan of a workflow is data that no expression is looked for in, on a line for each wave.
    let lines = wave_lines(&whole, 1);
    let matrix = lines.trim_end_matches('\n').strip_prefix("wave-1=").unwrap();
    assert!(!matrix.contains('\n'));
    let matrix: Vec<BTreeMap<String, String>> = serde_json::from_str(matrix).unwrap();
    assert_eq!(matrix[0]["packages"], word(format!("p:{odd}")));
}
