//! What a build may ask of the kernel: every row of the seccomp table, capabilities, devices,
//! `/proc` and `/sys`; and how root is emulated where there is one id only.

use mkpanda::container::capabilities;
use mkpanda::container::seccomp::table::{self, DeniedAnswer, PolicyRow, When};
use serde_json::{Value, json};

use crate::inside::{assert_refused, tier};
use crate::support::Place;

/// A row as a call: its numbers, arguments to which it applies, and what is answered.
fn as_call(row: &PolicyRow) -> Value {
    let mut arguments = [0_u64; 6];
    match row.when {
        When::Always => {}
        When::AnyBit { argument, bits } => arguments[usize::from(argument)] = bits.into(),
        When::Equals { argument, value, .. } => arguments[usize::from(argument)] = value.into(),
    }
    let (answer, errno) = match row.answer {
        DeniedAnswer::Refuse => (json!("EPERM"), -libc::EPERM),
        DeniedAnswer::Unknown => (json!("ENOSYS"), -libc::ENOSYS),
        DeniedAnswer::Pretend | DeniedAnswer::Record => (json!(0), 0),
    };
    json!({
        "name": row.name, "native": row.native, "compat": row.compat,
        "arguments": arguments, "answer": answer, "errno": errno,
    })
}

#[test]
fn every_row_of_the_table_is_answered_as_it_says() {
    let place = Place::host();
    let mut rows = table::refused();
    if tier() == "single" {
        rows.extend(table::pretended());
    }
    let rows: Vec<Value> = rows.iter().map(as_call).collect();
    let code = r"
said['native'] = [row['name'] for row in given if row['native'] is not None and call(row['native'], *row['arguments']) != row['answer']]
said['x32'] = [row['name'] for row in given if row['native'] is not None and call(row['native'] | 1 << 30, *row['arguments']) != 'ENOSYS']
said['compat'] = in_child(lambda: [[row['name'], answer] for row in given if row['compat'] is not None for answer in [call32(row['compat'], *row['arguments'])] if answer != row['errno']])
";
    let said = place.probe(code, &json!(rows), &[]);
    assert_eq!(said["native"], json!([]), "answered otherwise");
    if cfg!(target_arch = "x86_64") {
        assert_eq!(said["x32"], json!([]), "answered otherwise");
        // A kernel without 32-bit calls kills who makes one.
        assert!([Value::Null, json!([])].contains(&said["compat"]), "{}", said["compat"]);
    }
}

#[test]
fn the_upper_half_of_an_argument_hides_nothing() {
    let place = Place::host();
    let code = r"
high = 1 << 40
for row in given:
    said[row['name']] = call(row['native'], *[argument | high for argument in row['arguments']])
";
    let rows = table::refused();
    let rows = rows.iter().filter(|row| row.when != When::Always && row.native.is_some());
    let said = place.probe(code, &rows.map(as_call).collect(), &[]);
    assert!(said.as_object().unwrap().len() >= 5);
    assert_refused(&said);
}

#[test]
fn a_build_has_the_granted_capabilities_and_can_get_no_more() {
    let place = Place::host();
    let code = r"
for line in open('/proc/self/status'):
    key, value = line.split(':')
    said[key] = value.strip()
";
    let said = place.probe(code, &Value::Null, &[]);
    let granted: u64 = capabilities::granted().iter().map(caps::Capability::bitmask).sum();
    for (set, expected) in [
        ("CapBnd", granted),
        ("CapPrm", granted),
        ("CapEff", granted),
        ("CapInh", 0),
        ("CapAmb", 0),
    ] {
        assert_eq!(said[set], json!(format!("{expected:016x}")), "{set}");
    }
    assert_eq!((&said["NoNewPrivs"], &said["Seccomp"]), (&json!("1"), &json!("2")));
}

#[test]
fn devices_cant_be_made_nor_found() {
    let place = Place::host();
    let code = r"
devices = {'/tmp/mem': (stat.S_IFCHR, 1, 1), '/tmp/disk': (stat.S_IFBLK, 8, 0), '/dev/kmem': (stat.S_IFCHR, 1, 2), os.environ['PKG_PATH'] + '/null': (stat.S_IFCHR, 1, 3)}
for path, (kind, major, minor) in devices.items():
    said['mknod ' + path] = attempt(os.mknod, path, kind | 0o666, os.makedev(major, minor))
    said['open ' + path] = opens(path)
for path in ['/dev/mem', '/dev/kmsg', '/dev/port', '/dev/sda', '/dev/vda', '/dev/fuse', '/dev/kvm', '/dev/net/tun', '/dev/loop-control', '/dev/console']:
    said['open ' + path] = opens(path)
os.mkfifo('/tmp/fifo')
said['fifo'] = stat.S_ISFIFO(os.stat('/tmp/fifo').st_mode)
said['dev'] = sorted(os.listdir('/dev'))
";
    let mut said = place.probe(code, &Value::Null, &[]);
    let answers = said.as_object_mut().unwrap();
    assert_eq!(answers.remove("fifo"), Some(json!(true)));
    assert_eq!(
        answers.remove("dev"),
        Some(json!([
            "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
            "stdout", "tty", "urandom", "zero"
        ]))
    );
    if tier() == "single" {
        // Said to be made, and not made.
        answers.retain(|what, answer| !(what.starts_with("mknod ") && answer.is_null()));
    }
    assert_refused(&said);
}

#[test]
fn nothing_in_proc_and_sys_can_be_written() {
    let place = Place::host();
    let code = r"
writable, seen = [], 0
own = ('self', 'thread-self')
for top in ['/proc', '/sys']:
    for folder, folders, files in os.walk(top):
        if folder == '/proc':
            folders[:] = [each for each in folders if not each.isdigit() and each not in own]
        for file in files:
            path, seen = folder + '/' + file, seen + 1
            # What is masked is /dev/null.
            masked = stat.S_ISCHR(os.lstat(path).st_mode)
            if not os.path.islink(path) and not masked and opens(path, os.O_WRONLY) is None:
                writable.append(path)
for path in ['/proc/sysrq-trigger', '/proc/sys/kernel/core_pattern', '/proc/sys/kernel/hostname', '/proc/sys/net/ipv4/ip_forward', '/sys/power/state', '/sys/kernel/uevent_helper', '/sys/fs/cgroup/cgroup.procs']:
    said[path] = opens(path, os.O_WRONLY)
for path in ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/sys/firmware/x', '/proc/scsi/x', '/proc/acpi/x']:
    said[path] = 'ENOENT' if read(path) == b'' else 'readable'
said['mkdir'] = attempt(os.mkdir, '/sys/fs/cgroup/new')
said['rename'] = attempt(os.rename, '/proc/sys', '/tmp/sys')
said = {'refused': said, 'writable': writable, 'seen': seen}
";
    let said = place.probe(code, &Value::Null, &[]);
    assert!(said["seen"].as_u64().unwrap() > 100, "{}", said["seen"]);
    assert_eq!(said["writable"], json!([]));
    assert_refused(&said["refused"]);
}

/// Owners that only root could give are given where there are ids for them, and said to be given
/// where there are none.
#[test]
fn root_can_do_what_installing_software_takes() {
    let place = Place::host();
    let code = r"
open('/tmp/file', 'w').close()
os.symlink('nowhere', '/tmp/link')
said['chown'] = attempt(os.chown, '/tmp/file', 42, 43)
said['lchown'] = attempt(os.lchown, '/tmp/link', 42, 43)
said['owner'] = [os.stat('/tmp/file').st_uid, os.stat('/tmp/file').st_gid]
said['setgroups'] = attempt(os.setgroups, [4, 24])
os.mkdir('/tmp/unpacked')
with open('/tmp/archive.tar', 'wb') as archive:
    subprocess.run(['tar', '--create', '--owner=77', '--group=88', '--directory=/tmp', 'file', 'link'], stdout=archive, check=True)
said['tar'] = subprocess.run(['tar', '--extract', '--preserve-permissions', '--same-owner', '--file=/tmp/archive.tar', '--directory=/tmp/unpacked']).returncode
said['unpacked'] = os.stat('/tmp/unpacked/file').st_uid
def become():
    os.setgid(1), os.setuid(1)
    return [os.getuid(), os.getgid()]
said['became'] = in_child(become)
";
    let said = place.probe(code, &Value::Null, &[]);
    for what in ["chown", "lchown", "setgroups"] {
        assert_eq!(said[what], Value::Null, "{what}");
    }
    assert_eq!(said["tar"], json!(0));
    let ranges = tier() == "ranges";
    assert_eq!(said["owner"], if ranges { json!([42, 43]) } else { json!([0, 0]) });
    assert_eq!(said["unpacked"], if ranges { json!(77) } else { json!(0) });
    assert_eq!(said["became"], if ranges { json!([1, 1]) } else { json!([0, 0]) });
}

#[test]
fn dpkg_installs_a_package_with_owners() {
    let place = Place::host();
    place.package(
        "app",
        "{}",
        "command -v dpkg > /dev/null || { echo absent > $PKG_PATH/out; exit; }
         mkdir -p /var/lib/dpkg/{info,updates,parts} /deb/DEBIAN /deb/srv; touch /var/lib/dpkg/status
         printf '%s\\n' 'Package: demo' 'Version: 1' 'Architecture: all' \\
           'Maintainer: n <n@example.org>' 'Description: d' > /deb/DEBIAN/control
         printf '#!/bin/sh\\nchown 13:13 /srv/file && echo configured > /srv/state\\n' > /deb/DEBIAN/postinst
         chmod 755 /deb/DEBIAN/postinst; echo hello > /deb/srv/file
         dpkg-deb --build --root-owner-group -Znone /deb /demo.deb
         dpkg --install /demo.deb
         cat /srv/file /srv/state > $PKG_PATH/out",
    );
    place.run("app", &[]).ok();
    let out = place.file_of("app", "out");
    if out == "absent\n" {
        return crate::inside::left_out_here("dpkg", "a Debian");
    }
    assert_eq!(out, "hello\nconfigured\n");
}
