//! Builds that try to get out: each way fails.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::inside::assert_refused;
use crate::support::Place;

/// What no build may ever see.
const SECRET: &str = "MKPANDA_IT_SECRET_9b1f";

/// A process outside, of the same user, with the secret in its environment.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        loop {
            let mut command = Command::new("sleep");
            command.arg("300").env("SECRET", SECRET).stdin(Stdio::null());
            let victim = Self(command.spawn().unwrap());
            // In a young pid namespace, so that no process inside has the number of one outside.
            if victim.pid() > 300 {
                return victim;
            }
        }
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn processes_outside_cant_be_traced_read_or_signalled() {
    let mut victim = Victim::new();
    let mut place = Place::host();
    // The secret is in the environment of mkpanda and its helpers as well.
    place.variables.push(("SECRET".to_owned(), SECRET.to_owned()));
    let code = r"
pid = given['pid']
said['attach'] = call(101, 16, pid, 0, 0)
said['seize'] = call(101, 0x4206, pid, 0, 0)
said['signal'] = attempt(os.kill, pid, 9)
said['group'] = attempt(os.killpg, pid, 9)
said['pidfd'] = attempt(os.pidfd_open, pid)
said['mem'] = opens(f'/proc/{pid}/mem', os.O_RDWR)
said['root'] = attempt(os.listdir, f'/proc/{pid}/root/')
said['fd'] = attempt(os.listdir, f'/proc/{pid}/fd')
local = ctypes.create_string_buffer(8)
class Area(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
said['readv'] = call(310, pid, ctypes.byref(Area(ctypes.addressof(local), 8)), 1, ctypes.byref(Area(0x1000, 8)), 1, 0)
said['priority'] = attempt(os.setpriority, os.PRIO_PROCESS, pid, 19)
said['affinity'] = attempt(os.sched_setaffinity, pid, {0})
said['limits'] = call(302, pid, 7, 0, 0)
# All that may be signalled from here.
attempt(os.kill, -1, 0)
";
    let said = place.probe(code, &json!({"pid": victim.pid()}), &[]);
    assert_refused(&said);
    assert!(victim.is_alive());
}

#[test]
fn killing_everything_kills_the_build_alone() {
    let mut victim = Victim::new();
    let place = Place::new();
    place.package("app", "{}", "sleep 300 & kill -9 -1; echo alive > $PKG_PATH/out");
    place.run("app", &[]).ok();
    assert_eq!(place.file_of("app", "out"), "alive\n");
    assert!(victim.is_alive());
}

#[test]
fn environments_and_files_of_processes_outside_cant_be_read() {
    let _victim = Victim::new();
    let mut place = Place::host();
    place.variables.push(("SECRET".to_owned(), SECRET.to_owned()));
    // In two parts, as the script itself may have the word.
    let code = r"
word = (given[0] + given[1]).encode()
found = []
for path in glob.glob('/proc/[0-9]*'):
    for file in ['environ', 'cmdline']:
        if word in read(f'{path}/{file}'):
            found.append(f'{path}/{file}')
    for file in ['root', 'cwd']:
        for name in ['tmp/mkpanda-it-marker', 'root', 'home', 'etc/shadow']:
            place = f'{path}/{file}/{name}'
            if os.path.isdir(place) and os.listdir(place) or os.path.isfile(place):
                found.append(place)
said['found'] = found
# The same in each run: nothing of a process outside.
said['first'] = read('/proc/1/cmdline').decode()
";
    let (first, second) = SECRET.split_at(8);
    let said = place.probe(code, &json!([first, second]), &[]);
    assert_eq!(said["found"], json!([]));
    // Where the /proc of an outer container is shown, process 1 is that container's.
    if !place.record("probe")["conditions"].to_string().contains("nested-proc") {
        assert_eq!(said["first"], json!("mkpanda\0internal-helper\0"));
    }
}

#[test]
fn namespaces_are_the_containers_own_and_others_cant_be_entered() {
    let place = Place::host();
    let code = r"
kinds = ['user', 'mnt', 'pid', 'ipc', 'uts', 'net', 'cgroup']
said['kinds'] = {kind: os.readlink('/proc/self/ns/' + kind) for kind in kinds}
said['host name'] = platform.node()
refused = {}
for kind in kinds:
    fd = os.open('/proc/self/ns/' + kind, os.O_RDONLY)
    refused['setns ' + kind] = call(308, fd, 0)
refused['setns pidfd'] = call(308, os.pidfd_open(os.getpid()), 0x20000000)
for kind in [0x10000000, 0x20000, 0x40000000, 0x8000000, 0x4000000, 0x20000000, 0x2000000]:
    refused[f'unshare {kind:x}'] = call(272, kind)
    refused[f'clone {kind:x}'] = call(56, kind | 17, 0, 0, 0, 0)
    refused[f'both {kind:x}'] = call(272, kind | 0x10000000)
refused['clone3'] = call(435, ctypes.create_string_buffer(88), 88)
refused['sethostname'] = attempt(socket.sethostname, 'other')
refused['unshare(1)'] = 'E' if subprocess.run(['unshare', '--user', 'true'], stderr=subprocess.DEVNULL).returncode else 'worked'
said['refused'] = refused
";
    let said = place.probe(code, &Value::Null, &[]);
    for (kind, link) in said["kinds"].as_object().unwrap() {
        let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(link.as_str().unwrap(), own.to_str().unwrap(), "{kind}");
    }
    let conditions = place.record("probe")["conditions"].to_string();
    if !conditions.contains("outer-host-name") {
        assert_eq!(said["host name"], json!("mkpanda"));
    }
    assert_eq!(said["refused"]["clone3"], json!("ENOSYS"));
    assert_refused(&said["refused"]);
}

#[test]
fn mounts_cant_be_made_changed_or_removed() {
    let place = Place::host();
    let code = r"
os.mkdir('/tmp/place'); os.mkdir('/tmp/put_old')
bytes_ = lambda text: text.encode()
remount, bind = 32, 4096
said['tmpfs'] = call(165, b'none', b'/tmp/place', b'tmpfs', 0, 0)
said['proc'] = call(165, b'none', b'/tmp/place', b'proc', 0, 0)
said['bind'] = call(165, b'/pkg/build', b'/tmp/place', b'', bind, 0)
for path in ['/', '/pkg/build', '/opt/mesosphere', '/proc/sys', '/sys', '/usr']:
    said['remount ' + path] = call(165, b'', path.encode(), b'', remount | bind, 0)
    said['umount ' + path] = call(166, path.encode(), 2)
    said['attributes ' + path] = call(442, -100, path.encode(), 0, struct.pack('QQQQ', 0, 1, 0, 0), 32)
said['pivot_root'] = call(155, b'/tmp', b'/tmp/put_old')
said['open_tree'] = call(428, -100, b'/', 1)
said['fsopen'] = call(430, b'tmpfs', 0)
said['move_mount'] = call(429, -100, b'/usr', -100, b'/tmp/place', 0)
said['replaced'] = attempt(os.rename, os.environ['PKG_PATH'], '/tmp/result')
said['removed'] = attempt(os.rmdir, '/pkg/build')
";
    assert_refused(&place.probe(code, &Value::Null, &[]));
}

#[test]
fn files_of_the_machine_cant_be_reached() {
    let place = Place::host();
    let secret = place.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::create_dir_all(place.packages.join("probe")).unwrap();
    std::os::unix::fs::symlink(&secret, place.packages.join("probe/link")).unwrap();
    let code = r"
secret, home = given
relative = secret.lstrip('/')
up = '../' * 20
for path in [secret, home, '/pkg/build/link', '/pkg/build/../secret', '/pkg/build/../../secret', up + relative, '/proc/self/root' + secret, '/proc/1/root' + secret, '/proc/1/cwd/' + up + relative, '/etc/shadow', '/etc/sudoers', '/var/lib/dpkg', '/root/.ssh', '/home/' + home, '/usr/local/bin']:
    said[path] = opens(path)
said['/usr/local/bin'] = 'ENOENT' if not os.path.exists('/usr/local/bin') else 'there'
# The classic way out of a changed root.
outside = os.open('/', os.O_RDONLY)
def break_out():
    os.mkdir('/tmp/jail'); os.chroot('/tmp/jail'); os.fchdir(outside)
    for _ in range(50):
        os.chdir('..')
    os.chroot('.')
    return [opens(secret), os.path.exists('/pkg/build')]
broken = in_child(break_out)
said['broken out'], said['root again'] = broken[0], 'E' if broken[1] else 'elsewhere'
os.symlink(secret, os.environ['PKG_PATH'] + '/link')
";
    let said = place.probe(code, &json!([secret, place.home]), &[]);
    assert_refused(&said);
    // A link in the result is packed as one, and nothing that it points to.
    let text =
        Command::new("tar").arg("-tvJf").arg(place.archive("probe")).output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(&format!("./link -> {}", secret.display())), "{text}");
}

#[test]
fn no_network_but_loopback_unless_it_is_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let code = r"
said['interfaces'] = [name for _, name in socket.if_nameindex()]
def connect(address, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        client.connect(address)
said['outside'] = attempt(connect, ('127.0.0.1', given))
said['internet'] = attempt(connect, ('192.0.2.1', 80))
with socket.socket() as own:
    own.bind(('127.0.0.1', 80)); own.listen()
    said['own'] = attempt(connect, ('127.0.0.1', 80))
    said['own by any name'] = attempt(connect, ('localhost', 80)) if os.path.exists('/etc/hosts') else None
said['raw'] = attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)
said['packet'] = attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)
";
    let place = Place::host();
    let said = place.probe(code, &json!(port), &[]);
    assert_eq!(said["interfaces"], json!(["lo"]));
    assert_eq!(
        (&said["outside"], &said["internet"]),
        (&json!("ECONNREFUSED"), &json!("ENETUNREACH"))
    );
    assert_eq!(said["own"], Value::Null);
    assert_eq!((&said["raw"], &said["packet"]), (&json!("EPERM"), &json!("EPERM")));
    assert_eq!(place.record("probe")["network"], json!("none"));
    drop(place);
    let place = Place::host();
    let code = code.replace("(('127.0.0.1', 80))", "(('127.0.0.1', 0))");
    let code = code.replace("connect, ('127.0.0.1', 80)", "connect, own.getsockname()");
    let said = place.probe(&code, &json!(port), &["--network=host"]);
    assert_eq!((&said["outside"], &said["own"]), (&Value::Null, &Value::Null));
    assert_eq!((&said["raw"], &said["packet"]), (&json!("EPERM"), &json!("EPERM")));
    assert_eq!(place.record("probe")["network"], json!("host"));
}

#[test]
fn abstract_sockets_outside_cant_be_reached() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("mkpanda-it-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let code = r"
def connect(address):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address)
with socket.socket(socket.AF_UNIX) as own:
    own.bind('\0own-' + given); own.listen()
    said['own'] = attempt(connect, '\0own-' + given)
said['outside'] = attempt(connect, '\0' + given)
";
    let place = Place::host();
    let said = place.probe(code, &json!(name), &[]);
    assert_eq!((&said["own"], &said["outside"]), (&Value::Null, &json!("ECONNREFUSED")));
    drop(place);
    let place = Place::host();
    let said = place.probe(code, &json!(name), &["--network=host"]);
    let conditions = place.record("probe")["conditions"].clone();
    if conditions.as_array().unwrap().contains(&json!("no-landlock-scope")) {
        let what = "abstract sockets with --network=host";
        return crate::inside::left_out_here(what, "Landlock version 6, of Linux 6.12");
    }
    assert_eq!((&said["own"], &said["outside"]), (&Value::Null, &json!("EPERM")));
}

#[test]
fn what_is_read_only_stays_as_it_is() {
    let place = Place::host();
    place.package("base", "{}", "echo base > $PKG_PATH/base");
    place.write("probe/extra/file", "extra\n");
    let code = r"
base = glob.glob('/opt/mesosphere/packages/base--*')[0]
for path in ['/pkg/build/build', '/pkg/build/buildinfo.json', '/pkg/extra/file', base + '/base', '/usr/bin/env', '/etc/passwd']:
    said['write ' + path] = opens(path, os.O_WRONLY)
    said['append ' + path] = opens(path, os.O_RDWR | os.O_APPEND)
    said['mode ' + path] = attempt(os.chmod, path, 0o777)
    said['time ' + path] = attempt(os.utime, path)
    said['remove ' + path] = attempt(os.unlink, path)
    said['rename ' + path] = attempt(os.rename, path, path + '.old')
    said['attribute ' + path] = attempt(os.setxattr, path, 'user.mkpanda', b'x')
    said['link ' + path] = attempt(os.link, path, '/pkg/src/linked')
    # The same file by its descriptor, which may be reached in other ways.
    fd = os.open(path, os.O_RDONLY)
    said['again ' + path] = opens(f'/proc/self/fd/{fd}', os.O_RDWR)
    said['truncate ' + path] = attempt(os.truncate, path, 0)
for folder in ['/pkg/build', '/pkg/extra', '/opt/mesosphere', '/opt/mesosphere/packages', base, '/usr', '/usr/bin']:
    said['make in ' + folder] = attempt(os.mkdir, folder + '/new')
    said['mode of ' + folder] = attempt(os.chmod, folder, 0o777)
";
    place.write_probe(code, &Value::Null);
    place.write("probe/buildinfo.json", r#"{"requires": ["base"]}"#);
    place.run("probe", &[]).ok();
    assert_refused(&place.said());
}

#[test]
fn what_a_build_leaves_running_ends_with_it() {
    let place = Place::new();
    let unique = format!("{}", 100_000 + std::process::id());
    place.package(
        "app",
        "{}",
        &format!("(setsid sleep {unique}.25 < /dev/null > /dev/null 2>&1 &) ; nohup sleep {unique}.25 & disown -a"),
    );
    place.run("app", &[]).ok();
    assert_eq!(crate::interrupt::processes_with(&format!("{unique}.25")), Vec::<u32>::new());
    place.assert_clean();
}
