//! Limits: time always, memory and processes where a cgroup is delegated.

use std::path::Path;
use std::time::{Duration, Instant};

use mkpanda::container::cgroup::find_delegation;
use serde_json::{Value, json};

use crate::inside::left_out;
use crate::interrupt::{eventually, processes_with};
use crate::support::Place;

fn set(place: &mut Place, name: &str, value: &str) {
    place.variables.push((format!("MKPANDA_LIMITS_{name}"), value.to_owned()));
}

#[test]
fn a_build_ends_at_its_time_limit_with_all_that_it_started() {
    let mut place = Place::new();
    set(&mut place, "TIME", "300ms");
    let argument = format!("{}.75", 20_000 + std::process::id());
    // Deaf to what a person would send, and in the background as well.
    let script = format!(
        "trap '' TERM INT; setsid sleep {argument} & echo waiting; sleep {argument}; sleep {argument}"
    );
    place.package("app", "{}", &script);
    let began = Instant::now();
    place
        .run("app", &[])
        .fails(1)
        .says("the build script was ended after its time limit of")
        .says("| waiting")
        .says("hint: raise limits.time");
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(processes_with(&argument), Vec::<u32>::new());
    place.assert_clean();
}

/// Whether this user can limit memory and processes here, as mkpanda finds out.
pub fn delegated() -> Result<(), String> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    find_delegation(Path::new("/sys/fs/cgroup"), &own).map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_build_cant_have_more_processes_than_its_limit() {
    let mut place = Place::host();
    set(&mut place, "PROCESSES", "25");
    let code = r"
made = []
try:
    for _ in range(60):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        made.append(child)
except OSError as error:
    said['error'] = name(error.errno)
said['made'] = len(made)
for child in made:
    os.kill(child, 9)
    os.waitpid(child, 0)
";
    if let Err(reason) = delegated() {
        return refused(&place, code, &reason, "processes");
    }
    let said = place.probe(code, &Value::Null, &[]);
    assert_eq!(said["error"], json!("EAGAIN"));
    let made = said["made"].as_u64().unwrap();
    assert!((10..25).contains(&made), "{made} processes");
    assert_no_cgroups();
}

#[test]
fn a_build_cant_have_more_memory_than_its_limit() {
    let mut place = Place::host();
    set(&mut place, "MEMORY", "96M");
    let code = "said['had'] = len(bytearray(b'x') * (400 << 20))";
    if let Err(reason) = delegated() {
        return refused(&place, code, &reason, "memory");
    }
    place.write_probe(code, &Value::Null);
    place
        .run("probe", &[])
        .fails(1)
        .says("SIGKILL")
        .says("hint: it ran out of memory: raise limits.memory");
    place.assert_clean();
    assert_no_cgroups();
}

/// Without delegation a limit is never passed over: nothing is built.
#[track_caller]
fn refused(place: &Place, code: &str, reason: &str, limit: &str) {
    place.write_probe(code, &Value::Null);
    place.run("probe", &[]).fails(1).says(reason).says("hint: start mkpanda with `systemd-run");
    assert!(!place.packages.join("cache/packages/probe").exists(), "nothing is built");
    place.assert_clean();
    left_out(&format!("a limit of {limit} in force ({reason})"), "it-root");
}

/// No cgroup that a build made is left. Other tests build at the same time, so that it may take a
/// moment until there is none.
#[track_caller]
fn assert_no_cgroups() {
    eventually("all cgroups are removed", Duration::from_secs(10), || {
        let walk = walkdir::WalkDir::new("/sys/fs/cgroup").into_iter().flatten();
        let mut folders = walk.filter(|entry| entry.file_type().is_dir());
        !folders.any(|entry| entry.file_name().to_string_lossy().contains("-probe--"))
    });
}
