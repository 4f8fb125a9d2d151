//! A container as an OCI bundle, for crun, runc and their like.
//!
//! ```text
//! <bundle>/config.json    the specification, with the id map of the tier
//! <bundle>/rootfs/        the root, merged
//! <bundle>/mounts/<n>     copies of what is mounted; folders of the machine are mounted themselves
//! ```
//!
//! A runtime makes all namespaces itself, so the specification has those that [`super::sandbox`] leaves out.
//! It cannot say everything: soft limits, the Landlock scope, the refusal of calls by number, and the init
//! are missing.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::copy::{copy_entry, copy_folder};
use super::idmap::{IdMap, IdRange};
use super::sandbox::{Bind, Sandbox, Special};
use super::seccomp::table::{DeniedAnswer, PolicyRow, When};
use super::system_mounts::{DEV, SHARED_MEMORY, SystemMount, TERMINALS};

/// Name of the folder with the root.
pub const ROOT: &str = "rootfs";
/// Name of the folder with what is mounted.
pub const MOUNTS: &str = "mounts";

/// Copies the root and what is mounted of a container into the folders of a bundle; returns its specification.
/// Paths below `view` are copied.
pub fn write(
    sandbox: &Sandbox,
    view: &Path,
    (rootfs, mounts): (&Path, &Path),
    (map, rows): (&IdMap, &[PolicyRow]),
    terminal: bool,
) -> io::Result<String> {
    for entry in fs_err::read_dir(&sandbox.root)? {
        let entry = entry?;
        copy_entry(&entry.path(), &rootfs.join(entry.file_name()))?;
    }
    let mut binds = Vec::new();
    for (index, bind) in sandbox.binds.iter().enumerate() {
        let source = if bind.source.starts_with(view) {
            let place = mounts.join(index.to_string());
            if bind.source.is_dir() {
                copy_folder(&bind.source, &place)?;
            } else {
                copy_entry(&bind.source, &place)?;
            }
            Path::new(MOUNTS).join(index.to_string())
        } else {
            bind.source.clone()
        };
        binds.push(Bind { source, ..bind.clone() });
    }
    let spec = specification(sandbox, &binds, map, rows, terminal).map_err(io::Error::other)?;
    Ok(format!("{}\n", serde_json::to_string_pretty(&spec)?))
}

fn specification(
    sandbox: &Sandbox,
    binds: &[Bind],
    map: &IdMap,
    rows: &[PolicyRow],
    terminal: bool,
) -> Result<Value, oci_spec::OciSpecError> {
    let mut spec = json!(sandbox.to_spec()?);
    spec["root"] = json!({ "path": ROOT, "readonly": false });
    spec["process"]["terminal"] = terminal.into();
    spec["process"]["env"] = json!(sandbox.environment);
    // A rootless runc sets no further groups, of which the main one is none.
    let further: Vec<u32> =
        sandbox.user.groups.iter().copied().filter(|group| *group != sandbox.user.gid).collect();
    spec["process"]["user"]["additionalGids"] = json!(further);
    let kinds = ["user", "pid", "network", "mount", "ipc", "uts", "cgroup"];
    spec["linux"]["namespaces"] = kinds.map(|kind| json!({ "type": kind })).to_vec().into();
    spec["linux"]["uidMappings"] = mappings(&map.uids);
    spec["linux"]["gidMappings"] = mappings(&map.gids);
    spec["linux"]["seccomp"] = seccomp(rows);
    // The specification of our own runs lacks these three, which `mount_devices` has made before.
    // `/dev` comes first, since the others lie in it.
    let mut mounts = vec![system(&DEV)];
    if !sandbox.left_out.contains(&Special::Terminals) {
        mounts.push(system(&TERMINALS));
    }
    mounts.push(system(&SHARED_MEMORY));
    mounts.extend(spec["mounts"].as_array().into_iter().flatten().cloned());
    mounts.extend(binds.iter().map(bind));
    spec["mounts"] = mounts.into();
    Ok(spec)
}

fn mappings(ranges: &[IdRange]) -> Value {
    let mapping = |range: &IdRange| json!({ "containerID": range.inside, "hostID": range.outside, "size": range.count });
    ranges.iter().map(mapping).collect::<Vec<_>>().into()
}

fn system(mount: &SystemMount) -> Value {
    json!({
        "destination": mount.target, "type": mount.kind, "source": mount.kind,
        "options": mount.options,
    })
}

fn bind(bind: &Bind) -> Value {
    let access = if bind.writable { "rw" } else { "ro" };
    json!({
        "destination": bind.target, "type": "bind", "source": bind.source,
        "options": ["rbind", access, "nosuid", "nodev"],
    })
}

/// The rows as rules of libseccomp, which knows calls by their names.
fn seccomp(rows: &[PolicyRow]) -> Value {
    let rules: Vec<Value> = rows.iter().flat_map(rules).collect();
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": architectures(),
        "syscalls": rules,
    })
}

fn rules(row: &PolicyRow) -> Vec<Value> {
    // `ioctl TIOCSTI` is a call with an argument.
    let name = row.name.split(' ').next().unwrap_or(row.name);
    let errno = match row.answer {
        DeniedAnswer::Refuse => libc::EPERM,
        DeniedAnswer::Unknown => libc::ENOSYS,
        // An error of 0 is a call that succeeds and does nothing (seccomp(2)); no recorder answers
        // there.
        DeniedAnswer::Pretend | DeniedAnswer::Record => 0,
    };
    let rule = |arguments: Value| {
        json!({
            "names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": arguments,
        })
    };
    let masked = |argument: u8, mask: u32, value: u32| {
        rule(json!([{
            "index": argument, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ",
        }]))
    };
    match row.when {
        When::Always => vec![rule(json!([]))],
        When::Equals { argument, mask, value } => vec![masked(argument, mask, value)],
        When::AnyBit { argument, bits } => {
            // libseccomp compares for equality only, so each bit is a rule of its own.
            let each = (0..u32::BITS).map(|place| 1 << place).filter(|bit| bits & bit != 0);
            each.map(|bit| masked(argument, bit, bit)).collect()
        }
    }
}

fn architectures() -> Vec<&'static str> {
    if cfg!(target_arch = "x86_64") {
        vec!["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    } else {
        vec!["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::seccomp::table;

    #[test]
    fn rows_are_rules_for_each_bit_and_value() {
        let rows = [&table::refused()[..], &table::pretended()].concat();
        let filter = seccomp(&rows);
        let rules = filter["syscalls"].as_array().unwrap();
        let of = |name: &str| -> Vec<&Value> {
            rules.iter().filter(|rule| rule["names"][0] == name).collect()
        };
        assert_eq!(of("keyctl")[0]["errnoRet"], 1);
        assert_eq!(of("chown")[0]["errnoRet"], 0);
        let typing = of("ioctl");
        assert_eq!(typing[0]["args"][0]["valueTwo"], 0x5412);
        let bits = rules_of(When::AnyBit { argument: 0, bits: 0b101 });
        let values: Vec<_> = bits.iter().map(|rule| rule["args"][0]["valueTwo"].clone()).collect();
        assert_eq!(values, [json!(1), json!(4)]);
    }

    fn rules_of(when: When) -> Vec<Value> {
        let row = table::refused().remove(0);
        rules(&PolicyRow { when, ..row })
    }
}
