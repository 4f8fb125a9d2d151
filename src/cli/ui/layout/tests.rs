use std::sync::Arc;

use super::*;
use crate::base::event::{Event, PackageOutcome, Planned, PlannedPackage};

const HASH: &str = "4e66b78a14efa4c7d9e615f2da4917297bf3d5a5";

fn at(began: Instant, seconds: u64) -> Instant {
    began + Duration::from_secs(seconds)
}

/// Six packages, of which one is built, one builds, one packs and one fetches, at 100 seconds.
fn busy(began: Instant) -> RunState {
    let mut state = RunState::new(began);
    let package = |name: &str, needs: &[usize], seconds: Option<u64>| PlannedPackage {
        id: format!("{name}--{HASH}"),
        needs: needs.to_vec(),
        expected: seconds.map(Duration::from_secs),
    };
    let packages = vec![
        package("xz", &[], Some(40)),
        package("openssl", &[], Some(250)),
        package("日本語の名前", &[], None),
        package("curl", &[], Some(60)),
        package("python", &[0, 1], Some(200)),
        package("new", &[], None),
    ];
    let mut apply = |seconds, event| state.apply(&event, at(began, seconds));
    let planned = Planned { cached: 3, jobs: 3, keeps_going: true, packages };
    apply(0, Event::Planned(Arc::new(planned)));
    let id = |name: &str| format!("{name}--{HASH}");
    let phase = |name: &str, phase| Event::Phase { package: id(name), phase };
    apply(0, phase("xz", Phase::Build));
    apply(1, phase("openssl", Phase::Build));
    let took = Duration::from_secs(40);
    apply(41, Event::Finished { package: id("xz"), how: PackageOutcome::Built, took });
    apply(45, phase("日本語の名前", Phase::Pack));
    apply(96, phase("curl", Phase::Fetch));
    for (second, done) in [(96, 0), (98, 6_400_000), (100, 12_800_000)] {
        apply(
            second,
            Event::Download {
                subject: "curl/source-of-curl".to_owned(),
                url: "https://curl.example/releases/curl-8.tar.xz".to_owned(),
                done,
                total: Some(40_000_000),
            },
        );
    }
    state
}

fn drawn(state: &mut RunState, now: Instant, size: (usize, usize)) -> Vec<String> {
    let remaining = state.remaining(now);
    lines(state, remaining, now, size).iter().map(|line| line.render(false)).collect()
}

#[test]
fn a_busy_run_in_windows_of_any_width() {
    let began = Instant::now();
    let mut state = busy(began);
    let mut shown = String::new();
    for columns in [20, 30, 40, 60, 80, 120] {
        let lines = drawn(&mut state, at(began, 100), (columns, 24));
        shown = format!("{shown}{columns}\n{}\n", lines.join("\n"));
    }
    insta::assert_snapshot!(shown, @"
    20
    build 1:39 openssl
    pack  0:55 日本語…
    fetch 0:04 curl/so…
    1/6, >6 min, 1:40
    30
    build 1:39 openssl
    pack  0:55 日本語の名前
    fetch 0:04 curl/source-… 32 %
    1 of 6, over 6 min left, 1:40
    40
    build 1:39 openssl
    pack  0:55 日本語の名前
    fetch 0:04 curl/source-of-curl 32 %
    1 of 6, over 6 min left, 1:40
    60
     build    1:39 of 4:10  openssl
     pack     0:55          日本語の名前
     fetch    0:04          curl/source-of-curl  32 %, 3.2 MB/s
    1 of 6, 3 running, over 6 min left (2 unknown), 1:40
    80
     build    1:39 of 4:10  openssl
     pack     0:55          日本語の名前
     fetch    0:04          curl/source-of-curl  12.8 MB of 40.0 MB, 3.2 MB/s
    [===>                ] 1 of 6, 3 running, over 6 min left (2 unknown), 1:40
    120
     build    1:39 of 4:10  openssl
     pack     0:55          日本語の名前
     fetch    0:04          curl/source-of-curl  12.8 MB of 40.0 MB, 3.2 MB/s, 0:09 left, from curl.example
    [===>                ] 1 of 6, 3 running, over 6 min left (2 unknown), 1:40
    ");
}

#[test]
fn no_line_is_ever_wider_than_the_window() {
    let began = Instant::now();
    let mut state = busy(began);
    for columns in 1..220 {
        for second in [0, 41, 97, 100, 110, 4000] {
            let remaining = state.remaining(at(began, second));
            for line in lines(&state, remaining, at(began, second), (columns, 24)) {
                assert!(line.width() < columns.max(2), "{columns}: {}", line.render(false));
            }
        }
    }
}

#[test]
fn there_are_never_more_lines_than_rows() {
    let began = Instant::now();
    let mut state = RunState::new(began);
    for count in 0..100 {
        let package = format!("p{count:02}--{HASH}");
        state.apply(&Event::Phase { package, phase: Phase::Build }, began);
    }
    let shown = drawn(&mut state, began, (80, 10));
    assert_eq!(shown.len(), 7);
    assert_eq!(shown[4..], [" build    0:00  p04", " and 95 more", "100 running, 0:00"]);
    for rows in 1..6 {
        assert!(drawn(&mut state, began, (80, rows)).len() <= 3);
    }
}

#[test]
fn two_variants_are_told_apart_and_tasks_have_their_own_names() {
    let began = Instant::now();
    let mut state = RunState::new(began);
    assert!(drawn(&mut state, began, (80, 24)).is_empty(), "nothing is going on");
    for package in [format!("p--{HASH}"), format!("p--{}", HASH.replace('4', "5")), "q--1".into()] {
        state.apply(&Event::Phase { package, phase: Phase::Prepare }, began);
    }
    state.apply(&Event::TaskBegan { task: "bootstrap <default>".to_owned() }, began);
    let shown = drawn(&mut state, at(began, 3700), (80, 24)).join("\n");
    insta::assert_snapshot!(shown, @"
     prepare  1:01:40  p--4e66b78
     prepare  1:01:40  p--5e66b78
     prepare  1:01:40  q
     make     1:01:40  bootstrap <default>
    4 running, 1:01:40
    ");
}

#[test]
fn a_download_that_stalls_or_waits_says_so() {
    let began = Instant::now();
    let mut state = busy(began);
    let mut curl = |second| {
        let lines = drawn(&mut state, at(began, second), (100, 24));
        let line = lines.iter().find(|line| line.contains("curl/")).unwrap();
        line.split("  ").last().unwrap().to_owned()
    };
    assert_eq!(curl(108), "12.8 MB of 40.0 MB, no data for 0:08");
    let (subject, reason) = ("curl/source-of-curl".to_owned(), String::new());
    let wait = Duration::from_secs(4);
    state.apply(&Event::Retry { subject, reason, wait }, at(began, 109));
    let lines = drawn(&mut state, at(began, 110), (80, 24));
    assert!(lines.iter().any(|line| line.ends_with("trying again in 3.0 s")), "{lines:?}");
}
