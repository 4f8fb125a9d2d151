//! A random graph, built by an engine that answers late and has many workers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use super::Farm;
use super::simulation::Simulation;

/// Latency of each answer.
const LATENCY: Duration = Duration::from_millis(20);

/// Packages that require each other; those of different groups do so rarely, as in real trees, where what is behind a
/// package are tens of others, not all.
const GROUP: usize = 100;

/// Random numbers (xorshift64*), the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).unwrap() % limit
    }
}

/// Packages with their requirements, each before its users, and with the time of each build.
struct Graph {
    needs: Vec<Vec<usize>>,
    takes: Vec<Duration>,
}

fn name(package: usize) -> String {
    format!("p{package:05}")
}

impl Graph {
    fn random(packages: usize, longest: Duration, seed: u64) -> Self {
        let mut random = Random(seed);
        let millis = usize::try_from(longest.as_millis()).unwrap();
        let (mut needs, mut takes) = (Vec::new(), Vec::new());
        for package in 0..packages {
            let (group, place) = (package - package % GROUP, package % GROUP);
            let mut needed: Vec<usize> =
                (0..random.below(4).min(place)).map(|_| group + random.below(place)).collect();
            if group > 0 && random.below(10) == 0 {
                needed.push(random.below(GROUP.min(20)));
            }
            needed.sort_unstable();
            needed.dedup();
            needs.push(needed);
            takes.push(Duration::from_millis((millis / 3 + random.below(millis * 2 / 3)) as u64));
        }
        Self { needs, takes }
    }

    /// Time of the longest chain.
    fn critical_path(&self) -> Duration {
        let mut ends: Vec<Duration> = Vec::new();
        for (needs, takes) in self.needs.iter().zip(&self.takes) {
            let begins = needs.iter().map(|needed| ends[*needed]).max().unwrap_or_default();
            ends.push(begins + *takes);
        }
        ends.into_iter().max().unwrap_or_default()
    }

    /// Number of packages behind all packages together.
    fn behind(&self) -> usize {
        let mut behind: Vec<std::collections::BTreeSet<usize>> = Vec::new();
        for needs in &self.needs {
            let mut all: std::collections::BTreeSet<usize> = needs.iter().copied().collect();
            all.extend(needs.iter().flat_map(|needed| &behind[*needed]));
            behind.push(all);
        }
        behind.iter().map(std::collections::BTreeSet::len).sum()
    }

    fn write(&self, farm: &Farm) {
        for (package, needs) in self.needs.iter().enumerate() {
            let needs: Vec<String> = needs.iter().map(|needed| name(*needed)).collect();
            farm.place.package(&name(package), &format!(r#"{{"requires": {needs:?}}}"#), "true");
        }
        farm.place.write("treeinfo.json", "{}");
    }
}

/// CPU time, and peak memory of the largest, of all programs that this process has run.
fn used() -> (Duration, u64) {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let time = [usage.user_time(), usage.system_time()].map(|time| {
        let micros = u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap();
        Duration::from_micros(micros)
    });
    (time[0] + time[1], u64::try_from(usage.max_rss()).unwrap() * 1024)
}

/// `MKPANDA_SCALE` packages by `MKPANDA_SCALE_WORKERS` workers, with the figures in the file `MKPANDA_SCALE_FIGURES`;
/// few of them, which take less time, otherwise.
#[test]
fn a_random_graph_is_built_by_many_workers() {
    let given = |name: &str| std::env::var(name).ok().map(|text| text.parse::<usize>().unwrap());
    let full = given("MKPANDA_SCALE");
    let workers = given("MKPANDA_SCALE_WORKERS").unwrap_or(50);
    let packages = full.unwrap_or(300);
    let longest = Duration::from_millis(if full.is_some() { 1500 } else { 150 });
    let graph = Graph::random(packages, longest, 18);
    let farm = Farm::new();
    graph.write(&farm);
    let takes: HashMap<_, _> =
        graph.takes.iter().enumerate().map(|(n, takes)| (name(n), *takes)).collect();
    farm.engine.state().latency = LATENCY;
    farm.engine.state().simulation = Some(Arc::new(Simulation::new(workers, takes)));
    farm.configure("");
    let jobs = (workers * 3 / 2).to_string();
    let before = used();
    let began = Instant::now();
    let run = farm.run("", &["tree", "-j", &jobs]).ok();
    let (took, after) = (began.elapsed(), used());
    let state = farm.engine.state();
    let work: Duration = graph.takes.iter().sum();
    let bound = graph.critical_path().max(work / u32::try_from(workers).unwrap());
    if full.is_some() {
        let planned = state.began.unwrap() - began;
        let figures = serde_json::json!({
            "packages": packages, "workers": workers, "behind": graph.behind(),
            "critical path": graph.critical_path().as_secs_f64(), "bound": bound.as_secs_f64(),
            "took": took.as_secs_f64(), "before the first": planned.as_secs_f64(),
            "cpu": after.0.saturating_sub(before.0).as_secs_f64(), "memory": after.1,
            "calls": state.calls, "most in flight": state.in_flight.1,
        });
        let file = std::env::var("MKPANDA_SCALE_FIGURES").unwrap();
        std::fs::write(file, figures.to_string()).unwrap();
    }
    // Each package once, whatever became ready at the same time.
    assert_eq!(run.stderr.matches(" (remote) in ").count(), packages, "{}", run.stderr);
    assert_eq!(state.calls["Execute"], u32::try_from(packages).unwrap());
    assert!(state.uploads.values().all(|count| *count == 1));
    // No worker is idle while there is work, and no package waits for more than a worker.
    assert!(state.in_flight.1 >= workers.min(packages / 6), "{} at once", state.in_flight.1);
    drop(state);
    farm.assert_clean();
}
